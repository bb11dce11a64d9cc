// A hash table with open addressing: inserts, looks up and deletes pseudo-random keys, and prints
// a sum over what it found. Integer work with unpredictable branches and scattered loads.
// usage: hash MILLIONS-OF-OPERATIONS

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SLOTS ((size_t)1 << 16)
#define KEYS  (SLOTS / 2) // at most half full

struct slot {
    uint64_t key; // 0: never used
    uint64_t value;
    uint64_t dead; // deleted: probing goes on past it
};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t mix(uint64_t key)
{
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccd;
    key ^= key >> 33;
    return key;
}

static struct slot *find(struct slot *table, uint64_t key)
{
    size_t at = mix(key) & (SLOTS - 1);
    while (table[at].key != 0 && table[at].key != key) {
        at = (at + 1) & (SLOTS - 1);
    }
    return &table[at];
}

int main(int argc, char **argv)
{
    uint64_t operations = argc > 1 ? strtoull(argv[1], NULL, 10) * 1000000 : 0;
    struct slot *table = calloc(SLOTS, sizeof(*table));
    if (operations == 0 || table == NULL) {
        fprintf(stderr, "usage: hash MILLIONS-OF-OPERATIONS\n");
        return 2;
    }
    uint64_t random = 0x9e3779b97f4a7c15, sum = 0;
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t drawn = next_random(&random);
        uint64_t key = (drawn >> 8) % KEYS + 1;
        struct slot *slot = find(table, key);
        switch (drawn & 3) {
        case 0:
            *slot = (struct slot){.key = key, .value = drawn};
            break;
        case 1:
            if (slot->key != 0) {
                slot->dead = 1;
            }
            break;
        default:
            if (slot->key != 0 && slot->dead == 0) {
                sum = sum * 31 + slot->value;
            }
        }
    }
    printf("%016llx\n", (unsigned long long)sum);
    free(table);
    return 0;
}
