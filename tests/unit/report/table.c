#include "report/table.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct table_column columns[] = {
    {"lock", TABLE_LEFT}, {"p50", TABLE_RIGHT}, {"note", TABLE_LEFT}};

static struct table *create(void)
{
    struct table *table;

    cr_assert_eq(table_create(&table, columns, 3), 0);
    return table;
}

/* What the table prints: the caller's to free. */
static char *print(const struct table *table, bool styled)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    cr_assert_not_null(out);
    table_print(table, out, styled);
    cr_assert_eq(fclose(out), 0);
    return text;
}

static void assert_prints(const struct table *table, bool styled, const char *expected)
{
    char *text = print(table, styled);

    cr_assert_str_eq(text, expected, "got:\n%s", text);
    free(text);
}

Test(table, columns_are_as_wide_as_their_widest_cell)
{
    struct table *table = create();

    table_row(table, TABLE_PLAIN);
    table_cell(table, "%s", "mutex");
    table_cell(table, "%d", 7);
    table_cell(table, "fair");
    table_row(table, TABLE_BOLD);
    table_cell(table, "rw");
    table_cell(table, "%d", 12345);
    table_cell(table, "x");
    assert_prints(table, false, "lock     p50  note\nmutex      7  fair\nrw     12345  x\n");
    table_destroy(table);
}

Test(table, widths_count_characters_not_bytes)
{
    struct table *table = create();

    table_row(table, TABLE_PLAIN);
    table_cell(table, "a");
    table_cell(table, "1.00 µs");
    table_row(table, TABLE_PLAIN);
    table_cell(table, "b");
    table_cell(table, "100 ns");
    assert_prints(table, false, "lock      p50  note\na     1.00 µs\nb      100 ns\n");
    table_destroy(table);
}

Test(table, styles_enclose_a_row)
{
    struct table *table = create();

    table_row(table, TABLE_DIM);
    table_cell(table, "a");
    table_row(table, TABLE_BOLD);
    table_cell(table, "b");
    table_row(table, TABLE_PLAIN);
    table_cell(table, "c");
    assert_prints(table, true,
                  "\033[2mlock  p50  note\033[0m\n\033[2ma\033[0m\n\033[1mb\033[0m\nc\n");
    table_destroy(table);
}

Test(table, without_headings_there_is_no_line_for_them)
{
    static const struct table_column bare[] = {{"", TABLE_LEFT}};
    struct table *table;

    cr_assert_eq(table_create(&table, bare, 1), 0);
    table_row(table, TABLE_PLAIN);
    table_cell(table, "only");
    assert_prints(table, false, "only\n");
    table_destroy(table);
}

Test(table, a_long_cell_is_cut_between_characters)
{
    struct table *table = create();
    char longer[2 * TABLE_CELL_SIZE + 2] = "";
    size_t used = 0;
    char *text, *end;

    /* One byte, then characters of two: the cut falls into one. */
    for (const char *piece = "xy"; used < TABLE_CELL_SIZE + 4; piece = "µ")
        used += (size_t)snprintf(&longer[used], sizeof(longer) - used, "%s", piece);
    table_row(table, TABLE_PLAIN);
    table_cell(table, "%s", longer);
    text = print(table, false);
    end = strrchr(text, '\n');
    cr_assert_not_null(end);
    *end = '\0';
    end = strrchr(text, 'x');
    cr_assert_not_null(end);
    cr_assert_eq(strlen(end), TABLE_CELL_SIZE - 2);
    cr_assert_eq(strncmp(end, longer, strlen(end)), 0);
    free(text);
    table_destroy(table);
}

Test(table, a_file_is_not_styled)
{
    FILE *out = tmpfile();

    cr_assert_not_null(out);
    cr_assert_not(table_is_styled(out));
    fclose(out);
}
