#include "exec/watch.h"

#include "exec/executor_internal.h"

void watch_start(struct watch *watch, struct executor *executor, const struct watch_type *type)
{
    if (watch_is_on(watch))
        return;
    watch->type = type;
    list_push_back(&executor->watches, &watch->link);
}

void watch_stop(struct watch *watch)
{
    if (!watch_is_on(watch))
        return;
    list_remove(&watch->link);
    watch->link.next = NULL;
}

bool watch_is_on(const struct watch *watch)
{
    return watch->link.next;
}
