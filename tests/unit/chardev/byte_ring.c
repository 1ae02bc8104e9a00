#include "chardev/byte_ring.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(byte_ring, bytes_come_out_in_order_whatever_the_pieces)
{
    enum { SIZE = 64, ROUNDS = 20000 };
    uint8_t buffer[SIZE], piece[2 * SIZE];
    struct byte_ring ring = {.bytes = buffer, .size = SIZE};
    unsigned seed = 7;
    uint8_t next_in = 0, next_out = 0;
    size_t count = 0;

    for (int round = 0; round < ROUNDS; round++) {
        size_t len = (unsigned)rand_r(&seed) % sizeof(piece), done;

        for (size_t i = 0; i < len; i++)
            piece[i] = (uint8_t)(next_in + i);
        done = byte_ring_write(&ring, piece, len);
        cr_assert_eq(done, len < SIZE - count ? len : SIZE - count);
        count += done;
        next_in += (uint8_t)done;
        len = (unsigned)rand_r(&seed) % sizeof(piece);
        done = byte_ring_read(&ring, piece, len);
        cr_assert_eq(done, len < count ? len : count);
        for (size_t i = 0; i < done; i++)
            cr_assert_eq(piece[i], next_out++);
        count -= done;
        cr_assert_eq(byte_ring_count(&ring), count);
        cr_assert_eq(byte_ring_room(&ring), SIZE - count);
    }
}

Test(byte_ring, peek_gives_the_piece_up_to_the_end_of_the_buffer)
{
    uint8_t buffer[8], out[8];
    const uint8_t *bytes;
    struct byte_ring ring = {.bytes = buffer, .size = 8};

    cr_assert_eq(byte_ring_write(&ring, "abcdef", 6), 6);
    cr_assert_eq(byte_ring_read(&ring, out, 5), 5);
    cr_assert_eq(byte_ring_write(&ring, "ghijk", 5), 5);
    cr_assert_eq(byte_ring_peek(&ring, &bytes), 3);
    cr_assert_arr_eq(bytes, "fgh", 3);
    byte_ring_drop(&ring, 3);
    cr_assert_eq(byte_ring_peek(&ring, &bytes), 3);
    cr_assert_arr_eq(bytes, "ijk", 3);
}
