#include "base/pool.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>

Test(pool, hands_out_each_object_once)
{
    struct pool pool;
    char *objects[4];

    cr_assert_eq(pool_init(&pool, 100, 4), 0);
    for (unsigned i = 0; i < 4; i++) {
        objects[i] = pool_get(&pool);
        cr_assert_not_null(objects[i]);
        cr_assert_eq((uintptr_t)objects[i] % 64, 0, "a cache line of its own");
        memset(objects[i], (int)i, 100);
    }
    cr_assert_null(pool_get(&pool), "all are in use");
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(objects[i][0], (char)i);
        cr_assert_eq(objects[i][99], (char)i);
        pool_put(&pool, objects[i]);
    }
    cr_assert_eq(pool.in_use, 0);
    pool_destroy(&pool);
}

Test(pool, an_object_that_is_back_is_handed_out_again)
{
    struct pool pool;
    void *object;

    cr_assert_eq(pool_init(&pool, 8, 1), 0);
    object = pool_get(&pool);
    cr_assert_null(pool_get(&pool));
    pool_put(&pool, object);
    cr_assert_eq(pool_get(&pool), object);
    pool_put(&pool, object);
    pool_destroy(&pool);
}

Test(pool, refuses_sizes_that_make_no_pool)
{
    struct pool pool;

    cr_assert_eq(pool_init(&pool, 0, 4), -EINVAL);
    cr_assert_eq(pool_init(&pool, 8, 0), -EINVAL);
    cr_assert_eq(pool_init(&pool, SIZE_MAX, 1), -EINVAL);
    cr_assert_eq(pool_init(&pool, SIZE_MAX / 2, UINT32_MAX), -EINVAL);
}

Test(pool, an_object_of_another_pool_is_a_bug, .signal = SIGABRT)
{
    struct pool pool;
    char stranger[64];

    cr_assert_eq(pool_init(&pool, 64, 2), 0);
    cr_assert_not_null(pool_get(&pool));
    pool_put(&pool, stranger);
}

Test(pool, a_lost_object_is_a_bug, .signal = SIGABRT)
{
    struct pool pool;

    cr_assert_eq(pool_init(&pool, 64, 2), 0);
    cr_assert_not_null(pool_get(&pool));
    pool_destroy(&pool);
}
