#include "dataplane/base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "nicached: CHECK(%s) failed in %s, %s:%d\n", condition, function, file, line);
    fflush(stderr);
    abort();
}
