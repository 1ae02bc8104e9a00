#include "base/list.h"

#include <criterion/criterion.h>

struct item {
    char name;
    struct list link;
};

/* The names in order, first to last; checks the way back as well. */
static const char *names(const struct list *head)
{
    static char text[16];
    size_t len = 0;

    list_for_each (link, head) {
        cr_assert_eq(link->next->prev, link);
        text[len++] = container_of(link, struct item, link)->name;
    }
    text[len] = '\0';
    return text;
}

Test(list, pushes_at_both_ends_and_pops_at_the_front)
{
    struct list head = LIST_INIT(head);
    struct item a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c'};

    cr_assert(list_is_empty(&head));
    cr_assert_null(list_pop_front(&head));
    list_push_back(&head, &b.link);
    list_push_back(&head, &c.link);
    list_push_front(&head, &a.link);
    cr_assert_str_eq(names(&head), "abc");
    cr_assert_eq(list_pop_front(&head), &a.link);
    cr_assert_str_eq(names(&head), "bc");
}

Test(list, removing_twice_is_harmless)
{
    struct list head = LIST_INIT(head);
    struct item a = {.name = 'a'}, b = {.name = 'b'};

    list_push_back(&head, &a.link);
    list_push_back(&head, &b.link);
    list_remove(&a.link);
    list_remove(&a.link);
    cr_assert_str_eq(names(&head), "b");
    cr_assert(list_is_empty(&a.link));
}

Test(list, the_safe_loop_survives_removal_of_its_own_link)
{
    struct list head = LIST_INIT(head);
    struct item items[3] = {{.name = 'a'}, {.name = 'b'}, {.name = 'c'}};

    for (unsigned i = 0; i < 3; i++)
        list_push_back(&head, &items[i].link);
    list_for_each_safe (link, &head)
        if (container_of(link, struct item, link)->name != 'b')
            list_remove(link);
    cr_assert_str_eq(names(&head), "b");
}

Test(list, splice_moves_everything_to_the_end)
{
    struct list head = LIST_INIT(head), other = LIST_INIT(other);
    struct item a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c'};

    list_splice(&head, &other);
    cr_assert(list_is_empty(&head), "nothing to move");
    list_push_back(&other, &b.link);
    list_push_back(&other, &c.link);
    list_push_back(&head, &a.link);
    list_splice(&head, &other);
    cr_assert_str_eq(names(&head), "abc");
    cr_assert(list_is_empty(&other));
}
