#include "chardev/escape.h"

enum { CTRL_A = 1 };

const char escape_help[] = "\r\n"
                           "Ctrl-A h       this help\r\n"
                           "Ctrl-A x       stop the virtual machine\r\n"
                           "Ctrl-A b       send a break (magic SysRq)\r\n"
                           "Ctrl-A Ctrl-A  send Ctrl-A\r\n";

static unsigned command_of(uint8_t byte)
{
    switch (byte) {
    case 'x':
        return ESCAPE_QUIT;
    case 'b':
        return ESCAPE_BREAK;
    case 'h':
    case '?':
        return ESCAPE_HELP;
    default:
        return 0;
    }
}

size_t escape_filter(struct escape *escape, uint8_t *bytes, size_t len, unsigned *commands)
{
    size_t kept = 0;

    *commands = 0;
    for (size_t i = 0; i < len; i++) {
        bool is_command = escape->pending;

        escape->pending = !is_command && bytes[i] == CTRL_A;
        if (escape->pending)
            continue;
        if (!is_command || bytes[i] == CTRL_A)
            bytes[kept++] = bytes[i];
        else
            *commands |= command_of(bytes[i]);
    }
    return kept;
}
