#include "chardev/terminal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* How a process that has the terminal raw goes away. */
enum way { WAY_RESTORE, WAY_EXIT, WAY_ABORT, WAY_SEGV };

static int open_terminal(int *master)
{
    *master = posix_openpt(O_RDWR | O_NOCTTY);
    cr_assert(*master >= 0 && !grantpt(*master) && !unlockpt(*master));
    return open(ptsname(*master), O_RDWR | O_NOCTTY);
}

static bool is_raw(int fd)
{
    struct termios mode;

    cr_assert_eq(tcgetattr(fd, &mode), 0);
    return !(mode.c_lflag & (ICANON | ECHO | ISIG)) && !(mode.c_iflag & (ICRNL | IXON));
}

static void leave(int fd, enum way way)
{
    struct err err = {""};

    cr_assert_eq(terminal_raw(fd, &err), 0, "%s", err.text);
    if (!is_raw(fd))
        _exit(99);
    switch (way) {
    case WAY_RESTORE:
        terminal_restore();
        _exit(0);
    case WAY_EXIT:
        exit(0);
    case WAY_ABORT:
        abort();
    case WAY_SEGV:
        raise(SIGSEGV);
    }
    _exit(98);
}

static int wait_status(int fd, enum way way)
{
    pid_t child = fork();
    int status;

    if (!child)
        leave(fd, way);
    cr_assert_eq(waitpid(child, &status, 0), child);
    return status;
}

static void check_way(enum way way, int signal)
{
    int master, fd = open_terminal(&master), status;
    struct termios before, after;

    cr_assert_eq(tcgetattr(fd, &before), 0);
    status = wait_status(fd, way);
    if (signal)
        cr_assert_neq(status, 0, "the signal does what it did");
    else
        cr_assert_eq(status, 0);
    cr_assert_eq(tcgetattr(fd, &after), 0);
    cr_assert_eq(before.c_iflag, after.c_iflag);
    cr_assert_eq(before.c_oflag, after.c_oflag);
    cr_assert_eq(before.c_cflag, after.c_cflag);
    cr_assert_eq(before.c_lflag, after.c_lflag);
    close(fd);
    close(master);
}

Test(terminal, is_given_back_when_asked)
{
    check_way(WAY_RESTORE, 0);
}

Test(terminal, is_given_back_at_exit)
{
    check_way(WAY_EXIT, 0);
}

Test(terminal, is_given_back_by_an_abort)
{
    check_way(WAY_ABORT, SIGABRT);
}

Test(terminal, is_given_back_by_a_crash)
{
    check_way(WAY_SEGV, SIGSEGV);
}

Test(terminal, is_raw_again_after_a_stop)
{
    int master, fd = open_terminal(&master);
    struct termios mode;
    struct err err;

    cr_assert_eq(tcgetattr(fd, &mode), 0);
    cr_assert_eq(terminal_raw(fd, &err), 0);
    /* What a shell does when its job stops. */
    cr_assert_eq(tcsetattr(fd, TCSANOW, &mode), 0);
    cr_assert_not(is_raw(fd));
    raise(SIGCONT);
    cr_assert(is_raw(fd));
    terminal_restore();
    cr_assert_not(is_raw(fd));
    raise(SIGCONT);
    cr_assert_not(is_raw(fd), "given back: ours no more");
}

Test(terminal, what_is_no_terminal_is_left_alone)
{
    struct err err;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    cr_assert_eq(terminal_raw(fds[0], &err), 0);
    terminal_restore();
}
