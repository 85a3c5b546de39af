/* The whole program with stand-ins for its parts (fake_parts.c), as a child process: what it
 * prints, the order in which it starts and gives back, how it ends. FAKE_NICACHED is its path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char output[65536]; /* both streams of the child */
static size_t output_size;
static pid_t child;
static int child_fd;

static void start(const char *const *environment, const char *const *arguments)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const char *all[32] = {FAKE_NICACHED};
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        setenv("FAKE_TRACE", "1", 1);
        for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
            putenv((char *)(uintptr_t)environment[i]);
        }
        for (size_t i = 0; arguments[i] != NULL; i++) {
            all[i + 1] = arguments[i];
        }
        execv(FAKE_NICACHED, (char *const *)(uintptr_t)all);
        _exit(127);
    }
    close(fds[1]);
    child_fd = fds[0];
    output_size = 0;
    output[0] = '\0';
}

/* Reads until `text` was printed, or the end; false at the end. */
static bool wait_for(const char *text)
{
    while (strstr(output, text) == NULL) {
        struct pollfd fd = {child_fd, POLLIN, 0};
        if (poll(&fd, 1, 20000) != 1) {
            kill(child, SIGKILL);
            fail_msg("the program hangs; it printed: %s", output);
        }
        ssize_t count = read(child_fd, output + output_size, sizeof(output) - 1 - output_size);
        if (count <= 0) {
            return false;
        }
        output_size += (size_t)count;
        output[output_size] = '\0';
    }
    return true;
}

static int finish(void)
{
    int status;
    wait_for("\001 nobody prints this");
    close(child_fd);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status)) {
        fail_msg("ended by signal %d: %s", WTERMSIG(status), output);
    }
    return WEXITSTATUS(status);
}

static int run(const char *const *environment, const char *const *arguments)
{
    start(environment, arguments);
    return finish();
}
#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_printed(const char *text)
{
    if (strstr(output, text) == NULL) {
        fail_msg("'%s' is not in: %s", text, output);
    }
}

/* The lines appear in this order. */
static void assert_order(const char *const *lines)
{
    const char *at = output;
    for (size_t i = 0; lines[i] != NULL; i++) {
        at = strstr(at, lines[i]);
        if (at == NULL) {
            fail_msg("'%s' is not in its place in: %s", lines[i], output);
        }
    }
}

static void test_information(void **state)
{
    (void)state;
    assert_int_equal(run(NULL, ARGUMENTS("--version")), 0);
    assert_printed("nicached " NICACHED_VERSION "\n");
    assert_int_equal(run(NULL, ARGUMENTS("--help")), 0);
    assert_printed("--check [FILE]");
    assert_int_equal(run(NULL, ARGUMENTS("--check", "--port", "7000")), 0);
    assert_printed("the configuration is good");
    assert_int_equal(run(NULL, ARGUMENTS("--check", "/nonexistent")), 1);
    assert_printed("nicached: command line: cannot read configuration file '/nonexistent'");
    assert_int_equal(run(NULL, ARGUMENTS("--check", SOURCE_ROOT "/config/quickstart.conf")), 0);
    assert_int_equal(run(NULL, ARGUMENTS("--check", SOURCE_ROOT "/config/nicached.conf")), 0);
    assert_int_equal(run(NULL, ARGUMENTS("--print-sample")), 0);
    assert_printed("# port 6379");
    assert_int_equal(run(NULL, ARGUMENTS("--print-reference", "configuration")), 0);
    assert_printed("| `port` | `6379` |");
    assert_int_equal(run(NULL, ARGUMENTS("--print-reference", "metrics")), 0);
    assert_printed("| `net_drop_ip_checksum` | drop reason |");
    assert_int_equal(run(NULL, ARGUMENTS("--print-reference", "commands")), 0);
    assert_printed("the page of all commands");
    assert_int_equal(run(NULL, ARGUMENTS("--print-reference")), 1);
    assert_printed("takes one of commands, configuration, metrics");
    assert_int_equal(run(NULL, ARGUMENTS("--print-reference", "nothing")), 1);
}

static void test_refused_configuration(void **state)
{
    (void)state;
    assert_int_equal(run(NULL, ARGUMENTS("--port", "70000")), 1);
    assert_printed("nicached: command line: 'port': argument must be between 0 and 65535");
    assert_null(strstr(output, "+command_table"));
    assert_null(strchr(strchr(output, '\n') + 1, '\n')); /* one line */
}

static void test_start_and_stop(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM};
    for (int i = 0; i < 2; i++) {
        start(NULL, ARGUMENTS("--interface", "lo0", "socket", "127.0.0.1", "--interface", "tap0",
                              "tap", "198.18.0.2/24", "--unixsocket", "/tmp/x.sock"));
        assert_true(wait_for("Stop with Ctrl-C."));
        assert_true(wait_for("+run"));
        kill(child, signals[i]);
        assert_int_equal(finish(), 0);
        assert_order((const char *const[]){"+command_table", "+eal", "+pool", "+port", "+shard",
                                           "+reclaimer", "+core", "-run", "-core", "-port",
                                           "-reclaimer", "-shard", "-pool", "-eal",
                                           "nicached has stopped.", NULL});
        assert_printed("redis-cli -h 127.0.0.1 -p 6379 ping");
        assert_printed("printf 'version\\r\\nquit\\r\\n' | nc 198.18.0.2 11211");
        assert_printed("redis-cli -s /tmp/x.sock ping");
        assert_printed("Protected mode: no password is set");
        assert_printed(signals[i] == SIGINT ? "stopping: SIGINT" : "stopping: SIGTERM");
    }
}

static void test_shutdown_command(void **state)
{
    (void)state;
    assert_int_equal(run(ARGUMENTS("FAKE_SHUTDOWN=1"), ARGUMENTS("--bind", "127.0.0.1")), 0);
    assert_printed("stopping: SHUTDOWN command");
    assert_null(strstr(output, "+pool")); /* sockets need no packets */
}

/* Whichever part fails, what came before it is given back, in order, and the reason is one line. */
static void test_each_part_fails(void **state)
{
    (void)state;
    static const struct {
        const char *environment, *reason, *undone;
    } cases[] = {
        {"FAKE_FAIL=eal", "cannot start (EAL): EAL: refused by the test", NULL},
        {"FAKE_FAIL=pool", "cannot start (packet pool): packet pool", "-eal"},
        {"FAKE_FAIL=tap0", "cannot start (ports): interface tap0: refused by the test", "-pool"},
        {"FAKE_FAIL=tap1", "cannot start (ports): interface tap1: refused by the test", "-pool"},
        {"FAKE_FAIL=shard", "cannot start (shards): shard", "-port"},
        {"FAKE_FAIL=reclaimer", "cannot start (reclaimer): reclaimer", "-shard"},
        {"FAKE_FAIL=core", "cannot start (cores): core: refused by the test", "-reclaimer"},
        {"FAKE_FAIL=thread", "cannot start (workers): worker 0 cannot register with EAL", "-core"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(run(ARGUMENTS(cases[i].environment),
                             ARGUMENTS("--interface", "tap0", "tap", "198.18.0.2/24", "--interface",
                                       "tap1", "tap", "198.18.1.2/24")),
                         2);
        assert_printed(cases[i].reason);
        if (strstr(output, "+port") != NULL) {
            assert_printed("-port");
        }
        if (cases[i].undone != NULL) {
            assert_order((const char *const[]){cases[i].reason, cases[i].undone, "-eal", NULL});
        } else {
            assert_null(strstr(output, "-eal"));
        }
    }
}

static void test_cpu_that_is_not_there(void **state)
{
    (void)state;
    assert_int_equal(run(NULL, ARGUMENTS("--bind", "127.0.0.1", "--worker-cpus", "1023")), 2);
    assert_printed("worker 0 cannot run on CPU 1023");
}

static void test_optional_interface(void **state)
{
    (void)state;
    start(ARGUMENTS("FAKE_FAIL=tap0"), ARGUMENTS(SOURCE_ROOT "/config/quickstart.conf"));
    assert_true(wait_for("Stop with Ctrl-C."));
    kill(child, SIGTERM);
    assert_int_equal(finish(), 0);
    assert_printed("interface tap0: refused by the test; it is optional: going on without it");
    assert_printed("127.0.0.1:6379");
    assert_null(strstr(output, "198.18.0.2:6379"));
    assert_null(strstr(output, "Protected mode"));
    /* With nothing left there is nothing to serve on. */
    assert_int_equal(run(ARGUMENTS("FAKE_FAIL=tap0"),
                         ARGUMENTS("--interface", "tap0", "tap", "198.18.0.2/24", "optional")),
                     2);
    assert_printed("cannot start (ports): no interface is left to serve on");
}

static void test_pid_file_and_log(void **state)
{
    (void)state;
    char pidfile[64], logfile[64], text[32] = {0}, expected[32],
                                   directory[] = "/tmp/nicached-XXXXXX";
    assert_non_null(mkdtemp(directory));
    snprintf(pidfile, sizeof(pidfile), "%s/pid", directory);
    snprintf(logfile, sizeof(logfile), "%s/log", directory);
    start(NULL, ARGUMENTS("--bind", "127.0.0.1", "--pidfile", pidfile, "--logfile", logfile));
    assert_true(wait_for("Stop with Ctrl-C."));
    int fd = open(pidfile, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    snprintf(expected, sizeof(expected), "%d\n", (int)child);
    assert_string_equal(text, expected);
    kill(child, SIGHUP); /* means nothing here */
    kill(child, SIGTERM);
    assert_int_equal(finish(), 0);
    assert_null(strstr(output, "stopping: SIGTERM"));
    assert_int_not_equal(access(pidfile, F_OK), 0);
    struct stat status;
    assert_int_equal(stat(logfile, &status), 0);
    assert_true(status.st_size > 0);
    unlink(logfile);
    assert_int_equal(run(NULL, ARGUMENTS("--bind", "127.0.0.1", "--pidfile", "/nonexistent/x")), 2);
    assert_printed("cannot start (pid file): /nonexistent/x: No such file or directory");
    assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_information),        cmocka_unit_test(test_refused_configuration),
        cmocka_unit_test(test_start_and_stop),     cmocka_unit_test(test_shutdown_command),
        cmocka_unit_test(test_each_part_fails),    cmocka_unit_test(test_cpu_that_is_not_there),
        cmocka_unit_test(test_optional_interface), cmocka_unit_test(test_pid_file_and_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
