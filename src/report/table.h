/*
 * Tables of text, each column as wide as its widest cell:
 *
 *     static const struct table_column columns[] = {{"lock", TABLE_LEFT}, {"rate", TABLE_RIGHT}};
 *     table_create(&table, columns, array_count(columns));
 *     table_row(table, TABLE_PLAIN);
 *     table_cell(table, "%s", name);
 *     table_cell(table, "%.1f", rate);
 *     table_print(table, stdout, table_is_styled(stdout));
 *
 * Cells are UTF-8; a cell that a row does not have is empty. Fixed memory, made at once.
 */
#pragma once
#include <stdbool.h>
#include <stdio.h>

#include "base/compiler.h"

enum { TABLE_COLUMNS_MAX = 16, TABLE_ROWS_MAX = 128, TABLE_CELL_SIZE = 64 };

enum table_align { TABLE_LEFT, TABLE_RIGHT };

/* How a row looks on a terminal. */
enum table_style { TABLE_PLAIN, TABLE_BOLD, TABLE_DIM };

struct table_column {
    const char *heading; /* "": none */
    enum table_align align;
};

struct table;

/* The columns, at most TABLE_COLUMNS_MAX (asserted), are copied; their headings are the caller's.
 * 0 or -ENOMEM. */
must_check int table_create(struct table **out, const struct table_column *columns,
                            unsigned column_count);
/* NULL is allowed. */
void table_destroy(struct table *table);

/* Begins a row: at most TABLE_ROWS_MAX (asserted). */
void table_row(struct table *table, enum table_style style);
/* The next cell of the row (asserted: there is a column for it); what is longer than
 * TABLE_CELL_SIZE - 1 bytes is cut. */
void table_cell(struct table *table, const char *format, ...) printf_like(2, 3);

/* `styled`: bold and dim, by the escapes of ANSI terminals. */
void table_print(const struct table *table, FILE *out, bool styled);

/* Whether `out` is a terminal, and nobody set NO_COLOR. */
bool table_is_styled(FILE *out);
