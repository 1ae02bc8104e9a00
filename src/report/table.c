#include "report/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

struct row {
    enum table_style style;
    unsigned count;
    char cells[TABLE_COLUMNS_MAX][TABLE_CELL_SIZE];
};

struct table {
    unsigned column_count;
    unsigned row_count;
    struct table_column columns[TABLE_COLUMNS_MAX];
    struct row rows[TABLE_ROWS_MAX];
};

int table_create(struct table **out, const struct table_column *columns, unsigned column_count)
{
    struct table *table;

    CHECK_CMP(column_count, <=, (unsigned)TABLE_COLUMNS_MAX);
    table = calloc(1, sizeof(*table));
    if (!table)
        return -ENOMEM;
    table->column_count = column_count;
    memcpy(table->columns, columns, column_count * sizeof(*columns));
    *out = table;
    return 0;
}

void table_destroy(struct table *table)
{
    free(table);
}

void table_row(struct table *table, enum table_style style)
{
    CHECK_CMP(table->row_count, <, (unsigned)TABLE_ROWS_MAX);
    table->rows[table->row_count++].style = style;
}

static bool is_continuation(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* Drops a last character of several bytes: the cut may have gone through it. */
static void trim_cut(char *text, size_t length)
{
    while (length && is_continuation(text[length - 1]))
        length--;
    if (length && (unsigned char)text[length - 1] >= 0xc0)
        length--;
    text[length] = '\0';
}

void table_cell(struct table *table, const char *format, ...)
{
    struct row *row;
    va_list args;
    char *cell;
    int length;

    CHECK_CMP(table->row_count, >, 0U);
    row = &table->rows[table->row_count - 1];
    CHECK_CMP(row->count, <, table->column_count);
    cell = row->cells[row->count++];
    va_start(args, format);
    length = vsnprintf(cell, TABLE_CELL_SIZE, format, args);
    va_end(args);
    if (length >= TABLE_CELL_SIZE)
        trim_cut(cell, TABLE_CELL_SIZE - 1);
}

/* Characters; none of ours is wider than one column. */
static unsigned width_of(const char *text)
{
    unsigned width = 0;

    for (; *text; text++)
        width += !is_continuation(*text);
    return width;
}

static unsigned column_width(const struct table *table, unsigned column)
{
    unsigned width = width_of(table->columns[column].heading);

    for (unsigned i = 0; i < table->row_count; i++) {
        unsigned cell = width_of(table->rows[i].cells[column]);

        width = cell > width ? cell : width;
    }
    return width;
}

static const char *escape_of(enum table_style style)
{
    switch (style) {
    case TABLE_BOLD:
        return "\033[1m";
    case TABLE_DIM:
        return "\033[2m";
    case TABLE_PLAIN:
        break;
    }
    return "";
}

static void print_cell(FILE *out, const char *text, unsigned width, enum table_align align,
                       bool is_last)
{
    int padding = (int)(width - width_of(text));

    if (align == TABLE_RIGHT)
        fprintf(out, "%*s%s", padding, "", text);
    else
        fprintf(out, "%s%*s", text, is_last ? 0 : padding, "");
}

void table_print(const struct table *table, FILE *out, bool styled)
{
    unsigned widths[TABLE_COLUMNS_MAX] = {0};
    bool has_heading = false;

    for (unsigned c = 0; c < table->column_count; c++) {
        widths[c] = column_width(table, c);
        has_heading |= *table->columns[c].heading;
    }
    if (has_heading) {
        fputs(styled ? escape_of(TABLE_DIM) : "", out);
        for (unsigned c = 0; c < table->column_count; c++) {
            fputs(c ? "  " : "", out);
            print_cell(out, table->columns[c].heading, widths[c], table->columns[c].align,
                       c + 1 == table->column_count);
        }
        fputs(styled ? "\033[0m\n" : "\n", out);
    }
    for (unsigned i = 0; i < table->row_count; i++) {
        const struct row *row = &table->rows[i];
        bool is_marked = styled && row->style != TABLE_PLAIN;

        fputs(is_marked ? escape_of(row->style) : "", out);
        for (unsigned c = 0; c < row->count; c++) {
            fputs(c ? "  " : "", out);
            print_cell(out, row->cells[c], widths[c], table->columns[c].align, c + 1 == row->count);
        }
        fputs(is_marked ? "\033[0m\n" : "\n", out);
    }
}

bool table_is_styled(FILE *out)
{
    const char *no_color = getenv("NO_COLOR");

    return isatty(fileno(out)) && !(no_color && *no_color);
}
