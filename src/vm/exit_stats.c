#include "vm/exit_stats.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

/* Open addressing: a power of two well above EXIT_STATS_KEYS_MAX keeps the probes short. */
#define TABLE_SIZE 512u

struct entry {
    atomic_uint used; /* 0: free, else reason + 1; written last, with release */
    _Atomic uint64_t key;
    _Atomic(const char *) name;
    _Atomic uint64_t count;
    _Atomic uint64_t ns;
};

struct exit_stats {
    unsigned int keys; /* the writer's */
    _Atomic uint64_t run_ns, runs, retries;
    struct entry others[EXIT_REASON_COUNT]; /* when the table is full */
    struct entry table[TABLE_SIZE];
};

/* One line of the printed table. */
struct row {
    enum exit_reason reason;
    bool is_others;
    uint64_t key;
    const char *name;
    uint64_t count;
    uint64_t ns;
};

struct exit_stats *exit_stats_create(void)
{
    return calloc(1, sizeof(struct exit_stats));
}

void exit_stats_destroy(struct exit_stats *stats)
{
    free(stats);
}

/* There is one writer, so a load and a store are enough: no locked instruction on the way. */
static void add(_Atomic uint64_t *counter, uint64_t amount)
{
    uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, before + amount, memory_order_relaxed);
}

static uint64_t read_counter(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static struct entry *find_entry(struct exit_stats *stats, enum exit_reason reason, uint64_t key)
{
    uint64_t hash = (key + (uint64_t)reason * 0x10001) * UINT64_C(0x9e3779b97f4a7c15);
    unsigned int tag = (unsigned int)reason + 1;
    for (unsigned int i = 0; i < TABLE_SIZE; i++) {
        struct entry *entry = &stats->table[((hash >> 40) + i) % TABLE_SIZE];
        unsigned int used = atomic_load_explicit(&entry->used, memory_order_relaxed);
        if (used == tag && read_counter(&entry->key) == key) {
            return entry;
        }
        if (used == 0) {
            if (stats->keys == EXIT_STATS_KEYS_MAX) {
                break;
            }
            stats->keys++;
            atomic_store_explicit(&entry->key, key, memory_order_relaxed);
            atomic_store_explicit(&entry->used, tag, memory_order_release);
            return entry;
        }
    }
    struct entry *others = &stats->others[reason];
    atomic_store_explicit(&others->used, tag, memory_order_release);
    return others;
}

void exit_stats_count(struct exit_stats *stats, enum exit_reason reason, uint64_t key,
                      const char *name, uint64_t ns)
{
    struct entry *entry = find_entry(stats, reason, key);
    if (name != NULL && entry != &stats->others[reason]) {
        atomic_store_explicit(&entry->name, name, memory_order_relaxed);
    }
    add(&entry->count, 1);
    add(&entry->ns, ns);
}

void exit_stats_count_run(struct exit_stats *stats, uint64_t ns)
{
    add(&stats->runs, 1);
    add(&stats->run_ns, ns);
}

void exit_stats_count_retry(struct exit_stats *stats)
{
    add(&stats->retries, 1);
}

uint64_t exit_stats_total(const struct exit_stats *stats, enum exit_reason reason)
{
    uint64_t total = read_counter(&stats->others[reason].count);
    for (unsigned int i = 0; i < TABLE_SIZE; i++) {
        const struct entry *entry = &stats->table[i];
        if (atomic_load_explicit(&entry->used, memory_order_acquire) == (unsigned int)reason + 1) {
            total += read_counter(&entry->count);
        }
    }
    return total;
}

uint64_t exit_stats_runs(const struct exit_stats *stats)
{
    return read_counter(&stats->runs);
}

uint64_t exit_stats_run_ns(const struct exit_stats *stats)
{
    return read_counter(&stats->run_ns);
}

uint64_t exit_stats_retries(const struct exit_stats *stats)
{
    return read_counter(&stats->retries);
}

/* Copies an entry into a row; false if it is free. */
static bool read_entry(const struct entry *entry, bool is_others, struct row *row)
{
    unsigned int used = atomic_load_explicit(&entry->used, memory_order_acquire);
    if (used == 0) {
        return false;
    }
    *row = (struct row){
        .reason = (enum exit_reason)(used - 1),
        .is_others = is_others,
        .key = read_counter(&entry->key),
        .name = atomic_load_explicit(&entry->name, memory_order_relaxed),
        .count = read_counter(&entry->count),
        .ns = read_counter(&entry->ns),
    };
    return true;
}

static size_t collect_rows(const struct exit_stats *const *each, unsigned int count,
                           struct row *rows)
{
    size_t used = 0;
    for (unsigned int i = 0; i < count; i++) {
        for (unsigned int k = 0; k < TABLE_SIZE; k++) {
            used += read_entry(&each[i]->table[k], false, &rows[used]) ? 1 : 0;
        }
        for (unsigned int k = 0; k < EXIT_REASON_COUNT; k++) {
            used += read_entry(&each[i]->others[k], true, &rows[used]) ? 1 : 0;
        }
    }
    return used;
}

static int compare_keys(const void *left, const void *right)
{
    const struct row *a = left, *b = right;
    if (a->reason != b->reason) {
        return a->reason < b->reason ? -1 : 1;
    }
    if (a->is_others != b->is_others) {
        return a->is_others ? 1 : -1;
    }
    return a->key == b->key ? 0 : a->key < b->key ? -1 : 1;
}

static int compare_times(const void *left, const void *right)
{
    const struct row *a = left, *b = right;
    if (a->ns != b->ns) {
        return a->ns > b->ns ? -1 : 1;
    }
    return compare_keys(left, right);
}

/* Adds up rows of the same reason and key; rows are sorted by them. Returns how many are left. */
static size_t merge_rows(struct row *rows, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept != 0 && compare_keys(&rows[kept - 1], &rows[i]) == 0) {
            rows[kept - 1].count += rows[i].count;
            rows[kept - 1].ns += rows[i].ns;
        } else {
            rows[kept++] = rows[i];
        }
    }
    return kept;
}

static double mean_us(const struct row *row)
{
    return row->count == 0 ? 0 : (double)row->ns / 1e3 / (double)row->count;
}

static void print_row(const struct row *row, FILE *out)
{
    char key[32] = "";
    if (row->is_others) {
        snprintf(key, sizeof(key), "others");
    } else if (row->reason == EXIT_PIO || row->reason == EXIT_MMIO || row->reason == EXIT_RDMSR ||
               row->reason == EXIT_WRMSR) {
        snprintf(key, sizeof(key), "0x%" PRIx64, row->key);
    }
    fprintf(out, "%-16s %-18s %10" PRIu64 " %12.3f %10.2f  %s\n", exit_reason_name(row->reason),
            key, row->count, (double)row->ns / 1e6, mean_us(row),
            row->name == NULL ? "" : row->name);
}

/* The sum of each reason's rows; they are sorted by reason, and come out by time. */
static size_t sum_reasons(const struct row *rows, size_t count, struct row sums[EXIT_REASON_COUNT])
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (used == 0 || sums[used - 1].reason != rows[i].reason) {
            sums[used++] = (struct row){.reason = rows[i].reason};
        }
        sums[used - 1].count += rows[i].count;
        sums[used - 1].ns += rows[i].ns;
    }
    qsort(sums, used, sizeof(sums[0]), compare_times);
    return used;
}

static void print_reasons(const struct row *rows, size_t count, FILE *out)
{
    struct row sums[EXIT_REASON_COUNT];
    size_t used = sum_reasons(rows, count, sums);
    fprintf(out, "%-35s %10s %12s %10s\n", "exits by reason", "count", "total ms", "mean us");
    for (size_t i = 0; i < used; i++) {
        fprintf(out, "%-35s %10" PRIu64 " %12.3f %10.2f\n", exit_reason_name(sums[i].reason),
                sums[i].count, (double)sums[i].ns / 1e6, mean_us(&sums[i]));
    }
}

void exit_stats_print(const struct exit_stats *const *each, unsigned int count, FILE *out)
{
    struct row *rows = calloc((size_t)count * (TABLE_SIZE + EXIT_REASON_COUNT), sizeof(*rows));
    if (rows == NULL) {
        fprintf(out, "no memory for the table of exits\n");
        return;
    }
    size_t used = collect_rows(each, count, rows);
    qsort(rows, used, sizeof(*rows), compare_keys);
    used = merge_rows(rows, used);
    print_reasons(rows, used, out);
    qsort(rows, used, sizeof(*rows), compare_times);
    fprintf(out, "%-16s %-18s %10s %12s %10s  %s\n", "exit", "key", "count", "total ms", "mean us",
            "device");
    for (size_t i = 0; i < used; i++) {
        print_row(&rows[i], out);
    }
    free(rows);
}
