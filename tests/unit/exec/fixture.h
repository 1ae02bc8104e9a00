/* What the tests of src/exec share: an executor, and a task whose poll is a plain function. */
#pragma once
#include <criterion/criterion.h>

#include "exec/executor.h"
#include "exec/op.h"

static inline struct executor *fixture_create(const struct executor_config *config)
{
    struct executor *executor;
    struct err err = {""};

    cr_assert_eq(executor_create(&executor, config, &err), 0, "%s", err.text);
    return executor;
}

/* Runs until no task is left, and takes the executor down. */
static inline void fixture_finish(struct executor *executor)
{
    cr_assert_eq(executor_run(executor), 0);
    executor_destroy(executor);
}
