/* The descriptors behind a chardev. Any thread. */
#pragma once
#include <stdbool.h>

#include "base/compiler.h"
#include "base/err.h"
#include "chardev/chardev.h"

struct chardev_files {
    int input_fd;  /* -1: none, as all of them */
    int output_fd; /* may be the same as input_fd */
    /* Pseudo-terminal: readable (inotify) once for each time that somebody opened the other end. */
    int peer_fd;
    bool is_owned;     /* input_fd and output_fd are closed by chardev_files_close */
    char pty_path[64]; /* "" unless it is one */
};

/* As chardev_create. */
must_check int chardev_files_open(struct chardev_files *files, const struct chardev_config *config,
                                  struct err *err);
void chardev_files_close(struct chardev_files *files);
