/* What mem/gmem.h hides: in scenarios of virtqueues guest memory is part of the state. */
#pragma once

struct gmem {
    _Alignas(64) unsigned char bytes[256];
};
