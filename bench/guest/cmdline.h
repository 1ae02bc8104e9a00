/* Parameters: words "name=value" and lists "name=1,2,3" of the command line, all numbers. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

void cmdline_init(const char *cmdline);
/* What follows "name=" in the command line, or NULL. Ends at a blank. */
const char *cmdline_find(const char *name);
/* The same, behind `after`, which is in the command line, or NULL. */
const char *cmdline_find_next(const char *name, const char *after);
/* Whether the value at `text` is this word. */
bool cmdline_is(const char *text, const char *word);
uint64_t cmdline_number(const char *name, uint64_t otherwise);

enum { CMDLINE_LIST_MAX = 16 };

struct cmdline_list {
    uint64_t values[CMDLINE_LIST_MAX];
    unsigned count;
};

/* One value, `otherwise`, if there is none; those beyond CMDLINE_LIST_MAX are ignored. */
void cmdline_list(struct cmdline_list *list, const char *name, uint64_t otherwise);
/* A number at *text, decimal or hexadecimal after 0x, which moves to behind it. */
uint64_t cmdline_parse(const char **text);
