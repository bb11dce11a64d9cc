#include "vtx/bare/machine_interrupts.h"

#include "vtx/bare/descriptors.h"
#include "vtx/bare/ports.h"

#define PIC_FIRST       0x20
#define PIC_SECOND      0xa0
#define PIC_ICW1        0x11 /* edge-triggered, cascaded, ICW4 follows */
#define PIC_ICW4        0x01 /* 8086 mode */
#define PIC_CASCADE     2
#define PIC_EOI         0x20
#define LINE_TIMER      0
#define LINE_COM1       4
#define LINES_OF_FIRST  8
#define PIT_COUNTER_0   0x40
#define PIT_COUNTER_2   0x42
#define PIT_CONTROL     0x43
#define PIT_0_ONE_SHOT  0x30 /* counter 0, low byte then high byte, mode 0 */
#define PIT_2_ONE_SHOT  0xb0
#define PIT_HZ          1193182u
#define PORT61          0x61
#define PORT61_GATE     0x01
#define PORT61_SPEAKER  0x02
#define PORT61_OUTPUT_2 0x20
#define SPIN_READS_MAX  10000000u

void machine_interrupts_init(void)
{
    port_write8(PIC_FIRST, PIC_ICW1);
    port_write8(PIC_FIRST + 1, VECTOR_PIC_FIRST);
    port_write8(PIC_FIRST + 1, 1 << PIC_CASCADE);
    port_write8(PIC_FIRST + 1, PIC_ICW4);
    port_write8(PIC_SECOND, PIC_ICW1);
    port_write8(PIC_SECOND + 1, VECTOR_PIC_FIRST + LINES_OF_FIRST);
    port_write8(PIC_SECOND + 1, PIC_CASCADE);
    port_write8(PIC_SECOND + 1, PIC_ICW4);
    port_write8(PIC_FIRST + 1, (uint8_t) ~(1 << LINE_TIMER | 1 << LINE_COM1));
    port_write8(PIC_SECOND + 1, 0xff);
    machine_timer_set(MACHINE_TIMER_MAX_NS);
}

void machine_interrupts_handle(unsigned int line)
{
    if (line >= LINES_OF_FIRST) {
        port_write8(PIC_SECOND, PIC_EOI);
    }
    port_write8(PIC_FIRST, PIC_EOI);
}

static void pit_load(uint8_t control, uint16_t counter, uint64_t nanoseconds)
{
    if (nanoseconds > MACHINE_TIMER_MAX_NS) {
        nanoseconds = MACHINE_TIMER_MAX_NS;
    }
    uint64_t count = nanoseconds * PIT_HZ / 1000000000u + 1;
    port_write8(PIT_CONTROL, control);
    port_write8(counter, (uint8_t)count);
    port_write8(counter, (uint8_t)(count >> 8));
}

void machine_timer_set(uint64_t nanoseconds)
{
    pit_load(PIT_0_ONE_SHOT, PIT_COUNTER_0, nanoseconds);
}

void machine_spin(unsigned int microseconds)
{
    uint8_t port61 = port_read8(PORT61) & (uint8_t)~PORT61_SPEAKER;
    port_write8(PORT61, port61 | PORT61_GATE);
    pit_load(PIT_2_ONE_SHOT, PIT_COUNTER_2, (uint64_t)microseconds * 1000);
    for (unsigned int i = 0; i < SPIN_READS_MAX; i++) {
        if ((port_read8(PORT61) & PORT61_OUTPUT_2) != 0) {
            break;
        }
    }
    port_write8(PORT61, port61 & (uint8_t)~PORT61_GATE);
}
