/* Intrusive doubly linked list; the links live in the caller's structs, nothing is allocated. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

/* A head or a link. A link that is in no list points to itself. */
struct list {
    struct list *next;
    struct list *prev;
};

#define LIST_INIT(name)  \
    {                    \
        &(name), &(name) \
    }

static inline void list_init(struct list *list)
{
    list->next = list->prev = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

static inline void list_push_back(struct list *head, struct list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void list_push_front(struct list *head, struct list *link)
{
    list_push_back(head->next, link);
}

/* Leaves `link` in no list, so that removing it twice is harmless. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* NULL when the list is empty. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *link = head->next;

    if (link == head)
        return NULL;
    list_remove(link);
    return link;
}

/* Moves everything in `from` to the end of `head`; `from` is empty afterwards. */
static inline void list_splice(struct list *head, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = head->prev;
    from->prev->next = head;
    head->prev->next = from->next;
    head->prev = from->prev;
    list_init(from);
}

#define list_for_each(link, head) \
    for (struct list *link = (head)->next; link != (head); link = link->next)
/* Allows `link` itself to be removed in the body. */
#define list_for_each_safe(link, head)                                                \
    for (struct list *link = (head)->next, *link##_next = link->next; link != (head); \
         link = link##_next, link##_next = link->next)
