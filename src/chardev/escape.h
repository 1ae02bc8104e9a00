/*
 * Commands that a user types among the input of a terminal: Ctrl-A and a letter, as in QEMU. What
 * is unknown is swallowed with its Ctrl-A. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ESCAPE_QUIT = 1, ESCAPE_BREAK = 2, ESCAPE_HELP = 4 };

/* Zeroed is ready. */
struct escape {
    bool pending; /* private: a Ctrl-A came */
};

/* Takes commands out of bytes[0, len), in place: returns how many bytes are left, and in *commands
 * which ESCAPE_ were among them. */
size_t escape_filter(struct escape *escape, uint8_t *bytes, size_t len, unsigned *commands);

/* What ESCAPE_HELP shows. */
extern const char escape_help[];
