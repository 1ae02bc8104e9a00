/* When a vCPU spins for its reply. */
#include "kvm/spin.h"

#include <criterion/criterion.h>

Test(spin, is_worth_it_at_first_and_while_it_wins)
{
    struct spin spin;

    spin_init(&spin);
    for (int i = 0; i < 100; i++) {
        cr_assert(spin_is_worth(&spin));
        spin_won(&spin);
    }
}

Test(spin, ends_after_a_few_losses)
{
    struct spin spin;
    int tried = 0;

    spin_init(&spin);
    while (spin_is_worth(&spin) && tried < 100) {
        spin_lost(&spin);
        tried++;
    }
    cr_assert_leq(tried, SPIN_LUCK_MAX);
}

Test(spin, is_tried_again_now_and_then_and_comes_back_by_winning)
{
    struct spin spin;
    int tried = 0;

    spin_init(&spin);
    for (int i = 0; i < 10 * SPIN_RETRY_INTERVAL; i++) {
        if (spin_is_worth(&spin)) {
            spin_lost(&spin);
            tried++;
        }
    }
    cr_assert_geq(tried, 9);
    cr_assert_leq(tried, 10 + SPIN_LUCK_MAX);
    while (!spin_is_worth(&spin))
        ;
    spin_won(&spin);
    cr_assert(spin_is_worth(&spin));
    cr_assert(spin_is_worth(&spin));
}

Test(spin, that_mostly_wins_survives_a_loss)
{
    struct spin spin;

    spin_init(&spin);
    for (int i = 0; i < 100; i++) {
        cr_assert(spin_is_worth(&spin));
        if (i % 5)
            spin_won(&spin);
        else
            spin_lost(&spin);
    }
}
