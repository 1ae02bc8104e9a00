#include "chardev/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/check.h"

static const int fatal_signals[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS};

/*
 * Process-wide, since signal handlers and exit have no other way to it: a process has one terminal.
 * Written before other threads start, except is_raw.
 */
static struct {
    volatile sig_atomic_t is_raw;
    int fd;
    struct termios before;
    struct termios raw;
    struct sigaction fatal_before[array_count(fatal_signals)];
    bool at_exit;
} terminal;

/* Setting modes from the background would stop us, and is the foreground job's business. */
static bool terminal_is_ours(void)
{
    pid_t foreground = tcgetpgrp(terminal.fd);

    return foreground < 0 || foreground == getpgrp();
}

/* With TCSANOW: waiting for output would hang on a stopped terminal. */
static void terminal_set(const struct termios *mode)
{
    int saved_errno = errno;

    if (terminal_is_ours())
        tcsetattr(terminal.fd, TCSANOW, mode);
    errno = saved_errno;
}

void terminal_restore(void)
{
    if (!terminal.is_raw)
        return;
    terminal.is_raw = 0;
    terminal_set(&terminal.before);
}

/* Hands the signal to whoever had it before us (a sanitizer, or the default action). */
static void fatal_handler(int signal)
{
    terminal_restore();
    for (size_t i = 0; i < array_count(fatal_signals); i++)
        if (fatal_signals[i] == signal)
            sigaction(signal, &terminal.fatal_before[i], NULL);
    raise(signal);
}

/* The shell gave the terminal its own mode while we were stopped. */
static void continue_handler(int signal)
{
    (void)signal;
    if (terminal.is_raw)
        terminal_set(&terminal.raw);
}

static void handlers_install(void)
{
    struct sigaction fatal = {.sa_handler = fatal_handler, .sa_flags = SA_ONSTACK};
    struct sigaction resume = {.sa_handler = continue_handler, .sa_flags = SA_ONSTACK | SA_RESTART};

    for (size_t i = 0; i < array_count(fatal_signals); i++)
        CHECK(!sigaction(fatal_signals[i], &fatal, &terminal.fatal_before[i]));
    CHECK(!sigaction(SIGCONT, &resume, NULL));
}

int terminal_raw(int fd, struct err *err)
{
    CHECK(!terminal.is_raw);
    if (!isatty(fd))
        return 0;
    terminal.fd = fd;
    if (tcgetattr(fd, &terminal.before))
        return err_set(err, -errno, "terminal: cannot read its mode: %s", strerror(errno));
    terminal.raw = terminal.before;
    terminal.raw.c_iflag &=
        ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    terminal.raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    terminal.raw.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
    terminal.raw.c_cflag |= CS8;
    terminal.raw.c_cc[VMIN] = 1;
    terminal.raw.c_cc[VTIME] = 0;
    if (!terminal.at_exit && atexit(terminal_restore))
        return err_set(err, -ENOMEM, "terminal: out of memory");
    if (!terminal.at_exit)
        handlers_install();
    terminal.at_exit = true;
    terminal.is_raw = 1;
    terminal_set(&terminal.raw);
    return 0;
}
