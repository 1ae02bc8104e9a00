#include <criterion/criterion.h>
#include <string.h>

#include "virtio/queue.h"

enum { LEN = 12 };

/*
 * A chain whose readable and writable parts each hold LEN bytes, cut where `cuts` has a bit: every
 * framing that a driver can choose.
 */
struct framed {
    struct virtq_chain chain;
    struct iovec iov[2 * LEN];
    uint8_t readable[LEN];
    uint8_t writable[LEN];
};

static uint16_t frame(struct iovec *iov, uint8_t *bytes, unsigned cuts)
{
    uint16_t count = 0;

    for (int i = 0; i < LEN; i++) {
        if (i == 0 || cuts >> (i - 1) & 1)
            iov[count++] = (struct iovec){.iov_base = bytes + i};
        iov[count - 1].iov_len++;
    }
    return count;
}

static void framed_init(struct framed *framed, unsigned cuts)
{
    memset(framed, 0, sizeof(*framed));
    for (uint8_t i = 0; i < LEN; i++)
        framed->readable[i] = 1 + i;
    framed->chain.readable = framed->iov;
    framed->chain.readable_count = frame(framed->iov, framed->readable, cuts);
    framed->chain.readable_len = LEN;
    framed->chain.writable = framed->iov + framed->chain.readable_count;
    framed->chain.writable_count = frame(framed->chain.writable, framed->writable, cuts);
    framed->chain.writable_len = LEN;
}

Test(virtq_chain, header_is_pulled_whatever_the_framing)
{
    struct framed framed;

    for (unsigned cuts = 0; cuts < 1U << (LEN - 1); cuts++) {
        for (uint32_t len = 0; len <= LEN; len++) {
            uint8_t header[LEN] = {0};
            uint32_t rest = 0;

            framed_init(&framed, cuts);
            cr_assert(virtq_chain_pull(&framed.chain, header, len));
            cr_assert_eq(memcmp(header, framed.readable, len), 0);
            for (uint16_t i = 0; i < framed.chain.readable_count; i++)
                rest += framed.chain.readable[i].iov_len;
            cr_assert_eq(rest, LEN - len);
            cr_assert_eq(framed.chain.readable_len, LEN - len);
            if (rest)
                cr_assert_eq(framed.chain.readable[0].iov_base, framed.readable + len);
        }
    }
}

Test(virtq_chain, header_longer_than_the_chain_takes_nothing)
{
    struct framed framed;
    uint8_t header[LEN + 1] = {0};

    framed_init(&framed, 0x55);
    cr_assert_not(virtq_chain_pull(&framed.chain, header, LEN + 1));
    cr_assert_eq(header[0], 0);
    cr_assert_eq(framed.chain.readable_len, LEN);
    cr_assert(virtq_chain_pull(&framed.chain, header, LEN));
    cr_assert_not(virtq_chain_pull(&framed.chain, header, 1));
}

Test(virtq_chain, bytes_are_put_whatever_the_framing_as_far_as_there_is_room)
{
    struct framed framed;
    const uint8_t bytes[LEN + 4] = "abcdefghijklmno";

    for (unsigned cuts = 0; cuts < 1U << (LEN - 1); cuts++) {
        for (uint32_t len = 0; len <= LEN; len++) {
            framed_init(&framed, cuts);
            cr_assert_eq(virtq_chain_put(&framed.chain, bytes, len), len);
            cr_assert_eq(virtq_chain_put(&framed.chain, bytes + len, LEN + 4 - len), LEN - len);
            cr_assert_eq(memcmp(framed.writable, bytes, LEN), 0);
            cr_assert_eq(framed.chain.writable_len, 0);
            cr_assert_eq(framed.chain.writable_count, 0);
        }
    }
}

Test(virtq_chain, last_byte_is_taken_whatever_the_framing)
{
    struct framed framed;

    for (unsigned cuts = 0; cuts < 1U << (LEN - 1); cuts++) {
        framed_init(&framed, cuts);
        for (int i = LEN - 1; i >= 0; i--)
            cr_assert_eq(virtq_chain_take_last(&framed.chain), framed.writable + i);
        cr_assert_null(virtq_chain_take_last(&framed.chain));
        cr_assert_eq(framed.chain.writable_count, 0);
    }
}
