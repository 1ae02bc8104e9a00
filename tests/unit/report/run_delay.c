#include "report/run_delay.h"

#include <criterion/criterion.h>

Test(run_delay, never_decreases)
{
    uint64_t before_ns = run_delay_ns();

    cr_assert_geq(run_delay_ns(), before_ns);
}
