/*
 * The user's terminal in raw mode, given back on every way out that a process can see: exit, fatal
 * signals (handlers that restore and raise again), stop and continue by job control. One terminal
 * per process.
 */
#pragma once
#include "base/compiler.h"
#include "base/err.h"

/*
 * Puts the terminal `fd` in raw mode: no echo, no lines, no signals from keys; output processing
 * stays, so that lines of our own look right. Remembers the mode before, restores it at exit, and
 * takes over SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS and SIGCONT; SIGINT, SIGTERM and the
 * like are the caller's. A no-op for what is not a terminal. Before other threads start; once,
 * until terminal_restore. -EIO and the like with a line.
 */
must_check int terminal_raw(int fd, struct err *err);
/* Gives the terminal its mode back. A no-op when it is not raw. Any thread, also from a signal
 * handler. */
void terminal_restore(void);
