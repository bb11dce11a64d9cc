#include "chipset/pic.h"

#include "chipset/byte_access.h"

enum { PRIMARY, SECONDARY };

#define ICW1_SELECT  0x10 /* D4 at the even port: a first initialization word */
#define ICW1_IC4     0x01
#define ICW1_SNGL    0x02
#define ICW1_LTIM    0x08
#define ICW4_AEOI    0x02
#define ICW4_SFNM    0x10
#define OCW3_SELECT  0x08 /* D3: an OCW3, else an OCW2 */
#define OCW3_RIS     0x01
#define OCW3_RR      0x02
#define OCW3_P       0x04
#define OCW3_SMM     0x20
#define OCW3_ESMM    0x40
#define POLL_REQUEST 0x80

#define INPUT_NONE     (-1)
#define INPUT_SPURIOUS 7

static uint8_t bit(unsigned int input)
{
    return (uint8_t)(1u << (input & 7));
}

/* How far an input is from the highest priority: 0 is the most urgent, 8 that none is set. */
static unsigned int most_urgent(const struct pic_chip *chip, uint8_t inputs)
{
    unsigned int rank = 0;

    while (rank < 8 && (inputs & bit(chip->lowest_priority + 1u + rank)) == 0) {
        rank++;
    }
    return rank;
}

static int input_of_rank(const struct pic_chip *chip, unsigned int rank)
{
    return (int)((chip->lowest_priority + 1u + rank) & 7);
}

/* The input that a chip asks to have served, INPUT_NONE if none ("Fully Nested Mode"). */
static int request_of(const struct pic_chip *chip)
{
    if (chip->expect != PIC_EXPECT_NOTHING) {
        return INPUT_NONE;
    }

    uint8_t blocking = chip->isr;

    if (chip->special_mask) {
        blocking &= (uint8_t)~chip->imr;
    }
    if (chip->special_fully_nested) {
        /* A more urgent request of the chip behind an input that is in service gets through. */
        blocking &= (uint8_t)~chip->cascade_mask;
    }

    unsigned int rank = most_urgent(chip, (uint8_t)(chip->irr & ~chip->imr));

    return rank < most_urgent(chip, blocking) ? input_of_rank(chip, rank) : INPUT_NONE;
}

static bool is_level_triggered(const struct pic_chip *chip, unsigned int input)
{
    return chip->level_triggered || (chip->elcr & bit(input)) != 0;
}

/*
 * An edge is remembered only while its line stays high, as the data sheet demands of a requester
 * ("Interrupt Sequence"); a line that falls before INTA takes its request back.
 */
static void set_input(struct pic_chip *chip, unsigned int input, bool level)
{
    bool was_high = (chip->lines & bit(input)) != 0;

    if (!level) {
        chip->lines &= (uint8_t)~bit(input);
        chip->irr &= (uint8_t)~bit(input);
        return;
    }
    chip->lines |= bit(input);
    if (!was_high || is_level_triggered(chip, input)) {
        chip->irr |= bit(input);
    }
}

/* Carries the secondary's request to the primary and the primary's to the CPU. */
static void update(struct pic *pic)
{
    struct pic_chip *primary = &pic->chips[PRIMARY];

    set_input(primary, PIC_CASCADE_LINE, request_of(&pic->chips[SECONDARY]) != INPUT_NONE);

    bool output = request_of(primary) != INPUT_NONE;

    if (output != pic->output_level) {
        pic->output_level = output;
        irq_line_set(&pic->output, output);
    }
}

void pic_set_irq(void *context, unsigned int index, bool level)
{
    struct pic *pic = context;

    if (index >= PIC_LINES || index == PIC_CASCADE_LINE) {
        return;
    }

    struct pic_chip *chip = &pic->chips[index / 8];
    uint8_t kept = level || is_level_triggered(chip, index & 7) ? 0 : chip->irr & bit(index & 7);

    set_input(chip, index & 7, level);
    if (pic->keeps_edges) {
        chip->irr |= kept;
    }
    update(pic);
}

/* What the chip itself does at INTA. */
static void take(struct pic_chip *chip, unsigned int input)
{
    if (!is_level_triggered(chip, input)) {
        chip->irr &= (uint8_t)~bit(input);
    }
    if (!chip->auto_eoi) {
        chip->isr |= bit(input);
    } else if (chip->rotate_on_auto_eoi) {
        chip->lowest_priority = (uint8_t)input;
    }
}

int pic_acknowledge(struct pic *pic)
{
    struct pic_chip *primary = &pic->chips[PRIMARY];
    struct pic_chip *secondary = &pic->chips[SECONDARY];
    int input = request_of(primary);
    int vector;

    if (input == INPUT_NONE) {
        return primary->vector_base + INPUT_SPURIOUS;
    }
    take(primary, (unsigned int)input);
    if (input != PIC_CASCADE_LINE) {
        vector = primary->vector_base + input;
    } else {
        int behind = request_of(secondary);

        if (behind == INPUT_NONE) {
            vector = secondary->vector_base + INPUT_SPURIOUS;
        } else {
            take(secondary, (unsigned int)behind);
            vector = secondary->vector_base + behind;
        }
        /* INT falls during the sequence, so that a further request is a new edge. */
        set_input(primary, PIC_CASCADE_LINE, false);
    }
    update(pic);
    return vector;
}

/* "Initialization Command Words 1 and 2": what ICW1 resets. */
static void begin_initialization(struct pic_chip *chip, uint8_t icw1)
{
    chip->level_triggered = (icw1 & ICW1_LTIM) != 0;
    chip->single = (icw1 & ICW1_SNGL) != 0;
    chip->icw4_needed = (icw1 & ICW1_IC4) != 0;
    /* The edge sense circuit is reset: a line must rise anew. */
    chip->irr = (uint8_t)(chip->lines & (chip->level_triggered ? 0xff : chip->elcr));
    chip->isr = 0;
    chip->imr = 0;
    chip->lowest_priority = 7;
    chip->special_mask = false;
    chip->read_isr = false;
    chip->poll = false;
    chip->special_fully_nested = false;
    chip->auto_eoi = false;
    chip->rotate_on_auto_eoi = false;
    chip->expect = PIC_EXPECT_ICW2;
}

static void continue_initialization(struct pic_chip *chip, uint8_t value)
{
    switch (chip->expect) {
    case PIC_EXPECT_ICW2:
        chip->vector_base = value & 0xf8;
        if (!chip->single) {
            chip->expect = PIC_EXPECT_ICW3;
            return;
        }
        break;
    case PIC_EXPECT_ICW3: /* how the chips are wired is not a matter of programming here */
        break;
    case PIC_EXPECT_ICW4:
        chip->special_fully_nested = (value & ICW4_SFNM) != 0;
        chip->auto_eoi = (value & ICW4_AEOI) != 0;
        chip->icw4_needed = false;
        break;
    case PIC_EXPECT_NOTHING:
        return;
    }
    chip->expect = chip->icw4_needed ? PIC_EXPECT_ICW4 : PIC_EXPECT_NOTHING;
}

/* The most urgent input in service; in special mask mode masked ones are passed over. */
static int in_service(const struct pic_chip *chip)
{
    uint8_t inputs = chip->special_mask ? (uint8_t)(chip->isr & ~chip->imr) : chip->isr;
    unsigned int rank = most_urgent(chip, inputs);

    return rank < 8 ? input_of_rank(chip, rank) : INPUT_NONE;
}

/* "Operation Command Word 2": R, SL and EOI in bits 7 to 5, a level in bits 2 to 0. */
static void write_ocw2(struct pic_chip *chip, uint8_t value)
{
    unsigned int level = value & 7;
    int served = in_service(chip);

    switch (value >> 5) {
    case 0: /* rotate in automatic EOI mode: clear */
        chip->rotate_on_auto_eoi = false;
        break;
    case 4: /* rotate in automatic EOI mode: set */
        chip->rotate_on_auto_eoi = true;
        break;
    case 1: /* non-specific EOI */
    case 5: /* rotate on non-specific EOI */
        if (served != INPUT_NONE) {
            chip->isr &= (uint8_t)~bit((unsigned int)served);
            if ((value >> 5) == 5) {
                chip->lowest_priority = (uint8_t)served;
            }
        }
        break;
    case 3: /* specific EOI */
        chip->isr &= (uint8_t)~bit(level);
        break;
    case 7: /* rotate on specific EOI */
        chip->isr &= (uint8_t)~bit(level);
        chip->lowest_priority = (uint8_t)level;
        break;
    case 6: /* set priority */
        chip->lowest_priority = (uint8_t)level;
        break;
    default: /* 2: no operation */
        break;
    }
}

static void write_ocw3(struct pic_chip *chip, uint8_t value)
{
    if ((value & OCW3_P) != 0) {
        chip->poll = true;
    } else if ((value & OCW3_RR) != 0) {
        chip->read_isr = (value & OCW3_RIS) != 0;
    }
    if ((value & OCW3_ESMM) != 0) {
        chip->special_mask = (value & OCW3_SMM) != 0;
    }
}

static void write_chip(struct pic_chip *chip, uint64_t offset, uint8_t value)
{
    if (offset == 0) {
        if ((value & ICW1_SELECT) != 0) {
            begin_initialization(chip, value);
        } else if ((value & OCW3_SELECT) != 0) {
            write_ocw3(chip, value);
        } else {
            write_ocw2(chip, value);
        }
    } else if (chip->expect != PIC_EXPECT_NOTHING) {
        continue_initialization(chip, value);
    } else {
        chip->imr = value; /* OCW1 */
    }
}

/* "Poll Command": the read is the acknowledgement. */
static uint8_t poll_chip(struct pic_chip *chip)
{
    int input = request_of(chip);

    chip->poll = false;
    if (input == INPUT_NONE) {
        return 0;
    }
    take(chip, (unsigned int)input);
    return (uint8_t)(POLL_REQUEST | input);
}

static uint8_t read_chip(struct pic_chip *chip, uint64_t offset)
{
    if (chip->poll) {
        return poll_chip(chip);
    }
    if (offset != 0) {
        return chip->imr;
    }
    return chip->read_isr ? chip->isr : chip->irr;
}

static uint8_t read_primary(void *device, uint64_t offset)
{
    struct pic *pic = device;
    uint8_t value = offset < 2 ? read_chip(&pic->chips[PRIMARY], offset) : 0xff;

    update(pic);
    return value;
}

static void write_primary(void *device, uint64_t offset, uint8_t value)
{
    struct pic *pic = device;

    if (offset < 2) {
        write_chip(&pic->chips[PRIMARY], offset, value);
        update(pic);
    }
}

static uint8_t read_secondary(void *device, uint64_t offset)
{
    struct pic *pic = device;
    uint8_t value = offset < 2 ? read_chip(&pic->chips[SECONDARY], offset) : 0xff;

    update(pic);
    return value;
}

static void write_secondary(void *device, uint64_t offset, uint8_t value)
{
    struct pic *pic = device;

    if (offset < 2) {
        write_chip(&pic->chips[SECONDARY], offset, value);
        update(pic);
    }
}

static uint8_t read_elcr(void *device, uint64_t offset)
{
    const struct pic *pic = device;

    return offset < 2 ? pic->chips[offset].elcr : 0xff;
}

static void write_elcr(void *device, uint64_t offset, uint8_t value)
{
    struct pic *pic = device;

    if (offset >= 2) {
        return;
    }

    struct pic_chip *chip = &pic->chips[offset];
    uint8_t old = chip->elcr;

    chip->elcr = value & chip->elcr_mask;
    /* An input that became level-triggered follows its line; one that ceased to be waits anew. */
    chip->irr |= (uint8_t)(chip->elcr & ~old & chip->lines);
    chip->irr &= (uint8_t) ~(old & ~chip->elcr);
    update(pic);
}

void pic_primary_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_primary, write_primary);
}

void pic_secondary_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_secondary, write_secondary);
}

void pic_elcr_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_elcr, write_elcr);
}

/* Everything is masked until ICW1 comes; the data sheet leaves this state undefined. */
static void reset_chip(struct pic_chip *chip)
{
    *chip = (struct pic_chip){.lines = chip->lines,
                              .elcr_mask = chip->elcr_mask,
                              .cascade_mask = chip->cascade_mask,
                              .imr = 0xff,
                              .lowest_priority = 7};
}

void pic_reset(struct pic *pic)
{
    reset_chip(&pic->chips[PRIMARY]);
    reset_chip(&pic->chips[SECONDARY]);
    update(pic);
}

void pic_keep_edges(struct pic *pic)
{
    pic->keeps_edges = true;
}

void pic_init(struct pic *pic, const struct pic_config *config)
{
    *pic = (struct pic){.output = config->output};
    pic->chips[PRIMARY].elcr_mask = 0xf8;   /* timer, keyboard and cascade are always edges */
    pic->chips[SECONDARY].elcr_mask = 0xde; /* so are the clock (8) and the coprocessor (13) */
    pic->chips[PRIMARY].cascade_mask = bit(PIC_CASCADE_LINE);
    pic_reset(pic);
}
