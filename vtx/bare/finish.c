#include "vtx/bare/finish.h"

#include "vtx/bare/console.h"
#include "vtx/bare/ports.h"

#define DEBUG_EXIT_PORT     0xf4
#define BOCHS_SHUTDOWN_PORT 0x8900 /* takes the word "Shutdown", letter by letter */

void finish(int code)
{
    print("trapeze-bare: exit code %d\n", code);
    console_drain();
    port_write8(DEBUG_EXIT_PORT, (uint8_t)code);
    for (const char *letter = "Shutdown"; *letter != 0; letter++) {
        port_write8(BOCHS_SHUTDOWN_PORT, (uint8_t)*letter);
    }
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}
