# shellcheck shell=bash
# Sourced by ./run and by the benchmarks: how meson sets up the build that serves.
#
# For the processor that compiles it, and optimised over all files at link time: a tenth to a seventh fewer cycles for
# each request (docs/benchmarks/first-profile.md). It may not run on an older processor than this one: package builders
# give meson their own -Dc_args. A warning of a compiler that we have not met is no reason not to run.

release_options=(--buildtype=release -Db_lto=true "-Db_lto_threads=$(nproc)" -Dc_args=-march=native -Dwerror=false)
