#include "base/iov.h"

#include <criterion/criterion.h>

Test(iov, goes_on_at_every_possible_place)
{
    char bytes[] = "abcdefghij";

    for (size_t done = 0; done <= 10; done++) {
        struct iovec vector[4] = {{bytes, 3}, {bytes + 3, 0}, {bytes + 3, 2}, {bytes + 5, 5}};
        struct iovec *iov = vector;
        uint32_t count = iov_advance(&iov, 4, done);
        char rest[11] = "";
        size_t len = 0;

        cr_assert_eq(iov_size(iov, count), 10 - done);
        for (uint32_t i = 0; i < count; len += iov[i++].iov_len)
            memcpy(rest + len, iov[i].iov_base, iov[i].iov_len);
        cr_assert_str_eq(rest, bytes + done);
        cr_assert_eq(count == 0, done == 10);
    }
}

Test(iov, empty_entries_at_the_front_are_dropped)
{
    char byte;
    struct iovec vector[2] = {{&byte, 0}, {&byte, 1}};
    struct iovec *iov = vector;

    cr_assert_eq(iov_advance(&iov, 2, 0), 1);
    cr_assert_eq(iov, &vector[1]);
}

Test(iov, more_than_everything_is_everything)
{
    char bytes[4];
    struct iovec vector[1] = {{bytes, 4}};
    struct iovec *iov = vector;

    cr_assert_eq(iov_advance(&iov, 1, 100), 0);
    cr_assert_eq(iov_size(iov, 0), 0);
}
