#include "engines/soft/code.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engines/soft/block.h"
#include "engines/soft/exclusive.h"
#include "engines/soft/host_access.h"
#include "engines/soft/tlb.h"
#include "vm/guestmem.h"

static size_t granules_length(const struct memory_slot *slot)
{
    return (size_t)(slot->length >> 12) * sizeof(uint64_t);
}

int soft_code_create(struct soft_vm *vm, struct error *error)
{
    for (unsigned int i = 0; i < guestmem_slot_count(vm->memory); i++) {
        const struct memory_slot *slot = guestmem_slot(vm->memory, i);
        void *granules = mmap(NULL, granules_length(slot), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (granules == MAP_FAILED) {
            return error_set_errno(error, errno, "can't get memory to track guest code");
        }
        vm->code_granules[i] = granules;
    }
    vm->has_membarrier =
        syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
    return 0;
}

void soft_code_destroy(struct soft_vm *vm)
{
    for (unsigned int i = 0; i < guestmem_slot_count(vm->memory); i++) {
        if (vm->code_granules[i] != NULL) {
            munmap((void *)vm->code_granules[i], granules_length(guestmem_slot(vm->memory, i)));
            vm->code_granules[i] = NULL;
        }
    }
}

_Atomic(uint64_t) *soft_code_word(const struct soft_vm *vm, uint64_t physical)
{
    const struct memory_slot *slot = guestmem_find(vm->memory, gpa(physical));
    if (slot == NULL) {
        return NULL;
    }
    return &vm->code_granules[slot->index][(physical - slot->base.v) >> 12];
}

/* The granules that [physical, physical + length) touches, within its page. */
static uint64_t granule_bits(uint64_t physical, uint64_t length)
{
    unsigned int first = (unsigned int)(physical & SOFT_PAGE_MASK) >> SOFT_GRANULE_SHIFT;
    uint64_t end = (physical & SOFT_PAGE_MASK) + length - 1;
    unsigned int last = end > SOFT_PAGE_MASK ? 63 : (unsigned int)end >> SOFT_GRANULE_SHIFT;
    uint64_t upto_last = last == 63 ? ~UINT64_C(0) : (UINT64_C(1) << (last + 1)) - 1;
    return upto_last & ~((UINT64_C(1) << first) - 1);
}

static void take_write_tags(struct soft_tlb *tlb, const uint8_t *page_host)
{
    for (unsigned int i = 0; i < SOFT_TLB_ENTRIES; i++) {
        struct soft_tlb_entry *entry = &tlb->entry[i];
        if (__atomic_load_n(&entry->host, __ATOMIC_RELAXED) == page_host) {
            __atomic_store_n(&entry->write_tag, soft_tlb_empty_tag(i), __ATOMIC_RELAXED);
        }
    }
}

/* Every thread of the process passes a full barrier before this returns. */
static void barrier_everywhere(struct soft_cpu *cpu)
{
    struct soft_vm *vm = cpu->vm;
    if (vm->vcpu_count == 1) {
        return;
    }
    if (vm->has_membarrier &&
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0) {
        return;
    }
    /* Without the system call: make everybody stop and go, which orders as well. */
    soft_exclusive_begin(cpu);
    soft_exclusive_end(cpu);
}

static void revoke_writes(struct soft_cpu *cpu, uint64_t physical)
{
    struct soft_vm *vm = cpu->vm;
    const uint8_t *host = guestmem_pointer(vm->memory, gpa(physical & ~SOFT_PAGE_MASK), 1);
    pthread_mutex_lock(&vm->cpus_lock);
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        struct soft_cpu *other = atomic_load(&vm->cpus[i]);
        for (unsigned int r = 0; other != NULL && r < SOFT_REGIME_COUNT; r++) {
            take_write_tags(other->tlbs[r], host);
        }
    }
    pthread_mutex_unlock(&vm->cpus_lock);
    barrier_everywhere(cpu);
}

void soft_code_mark(struct soft_cpu *cpu, uint64_t physical, unsigned int length)
{
    _Atomic(uint64_t) *word = soft_code_word(cpu->vm, physical);
    if (word == NULL) {
        return;
    }
    uint64_t bits = granule_bits(physical, length);
    uint64_t before = atomic_load_explicit(word, memory_order_relaxed);
    if ((before & bits) == bits) {
        return;
    }
    before = atomic_fetch_or(word, bits);
    if (before == 0) {
        revoke_writes(cpu, physical);
    }
}

/* Asks a vCPU to drop a page; when its list is full, everything. */
static void post_request(struct soft_cpu *other, uint64_t page)
{
    pthread_mutex_lock(&other->code_lock);
    if (other->code_request_count < SOFT_CODE_REQUESTS_MAX) {
        other->code_requests[other->code_request_count] = page;
    }
    if (other->code_request_count <= SOFT_CODE_REQUESTS_MAX) {
        other->code_request_count++;
    }
    pthread_mutex_unlock(&other->code_lock);
    soft_attend(other, SOFT_ATTENTION_CODE);
}

static void post_to_others(struct soft_vm *vm, const struct soft_cpu *self, uint64_t page)
{
    if (self != NULL && vm->vcpu_count == 1) {
        return;
    }
    pthread_mutex_lock(&vm->cpus_lock);
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        struct soft_cpu *other = atomic_load(&vm->cpus[i]);
        if (other != NULL && other != self) {
            post_request(other, page);
        }
    }
    pthread_mutex_unlock(&vm->cpus_lock);
}

/*
 * True if the store hit marked granules; the page's marks are then cleared, before anybody is told
 * to drop it: whoever decodes from it later marks it anew.
 */
static bool take_marks(struct soft_vm *vm, uint64_t physical, uint64_t length)
{
    _Atomic(uint64_t) *word = soft_code_word(vm, physical);
    if (word == NULL) {
        return false;
    }
    soft_host_fence();
    if ((atomic_load(word) & granule_bits(physical, length)) == 0) {
        return false;
    }
    atomic_store(word, 0);
    return true;
}

bool soft_code_stored(struct soft_cpu *cpu, uint64_t physical, uint64_t length)
{
    if (!take_marks(cpu->vm, physical, length)) {
        return false;
    }
    soft_block_cache_drop_page(cpu, physical >> 12);
    post_to_others(cpu->vm, cpu, physical >> 12);
    return true;
}

void soft_code_external(void *context, gpa_t address, uint64_t length)
{
    struct soft_vm *vm = context;
    while (length > 0) {
        uint64_t rest = SOFT_PAGE_SIZE - (address.v & SOFT_PAGE_MASK);
        uint64_t piece = length < rest ? length : rest;
        if (take_marks(vm, address.v, piece)) {
            post_to_others(vm, NULL, address.v >> 12);
        }
        address = gpa_add(address, piece);
        length -= piece;
    }
}

void soft_code_serve_requests(struct soft_cpu *cpu)
{
    uint64_t pages[SOFT_CODE_REQUESTS_MAX];
    pthread_mutex_lock(&cpu->code_lock);
    unsigned int count = cpu->code_request_count;
    for (unsigned int i = 0; i < count && i < SOFT_CODE_REQUESTS_MAX; i++) {
        pages[i] = cpu->code_requests[i];
    }
    cpu->code_request_count = 0;
    pthread_mutex_unlock(&cpu->code_lock);
    if (count > SOFT_CODE_REQUESTS_MAX) {
        soft_block_cache_drop_all(cpu);
        return;
    }
    for (unsigned int i = 0; i < count; i++) {
        soft_block_cache_drop_page(cpu, pages[i]);
    }
}
