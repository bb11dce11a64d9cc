#include "engines/soft/code.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engines/soft/block.h"
#include "engines/soft/exclusive.h"
#include "engines/soft/host_access.h"
#include "engines/soft/tlb_set.h"
#include "engines/soft/translate/translate.h"
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

/* --- who holds code of a page --- */

static size_t held_length(const struct memory_slot *slot)
{
    return (size_t)((slot->length >> 12) + 63) / 64 * sizeof(uint64_t);
}

int soft_code_enter(struct soft_cpu *cpu)
{
    for (unsigned int i = 0; i < guestmem_slot_count(cpu->vm->memory); i++) {
        void *held =
            mmap(NULL, held_length(guestmem_slot(cpu->vm->memory, i)), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (held == MAP_FAILED) {
            return -errno;
        }
        cpu->code_held[i] = held;
    }
    return 0;
}

void soft_code_leave(struct soft_cpu *cpu)
{
    for (unsigned int i = 0; i < GUESTMEM_SLOTS_MAX; i++) {
        if (cpu->code_held[i] != NULL) {
            munmap((void *)cpu->code_held[i], held_length(guestmem_slot(cpu->vm->memory, i)));
            cpu->code_held[i] = NULL;
        }
    }
}

/* The word that has the page's bit; NULL if it is no RAM or ROM. */
static _Atomic(uint64_t) *held_word(const struct soft_cpu *cpu, uint64_t physical, uint64_t *bit)
{
    const struct memory_slot *slot = guestmem_find(cpu->vm->memory, gpa(physical));
    if (slot == NULL) {
        return NULL;
    }
    uint64_t page = (physical - slot->base.v) >> 12;
    *bit = UINT64_C(1) << page % 64;
    return &cpu->code_held[slot->index][page / 64];
}

bool soft_code_is_held(const struct soft_cpu *cpu, uint64_t physical)
{
    uint64_t bit;
    const _Atomic(uint64_t) *word = held_word(cpu, physical, &bit);
    return word != NULL && (atomic_load(word) & bit) != 0;
}

static void hold(struct soft_cpu *cpu, uint64_t physical)
{
    uint64_t bit;
    _Atomic(uint64_t) *word = held_word(cpu, physical, &bit);
    if (word != NULL && (atomic_load_explicit(word, memory_order_relaxed) & bit) == 0) {
        atomic_fetch_or(word, bit);
    }
}

void soft_code_release(struct soft_cpu *cpu, uint64_t physical)
{
    uint64_t bit;
    _Atomic(uint64_t) *word = held_word(cpu, physical, &bit);
    if (word != NULL) {
        atomic_fetch_and(word, ~bit);
    }
}

/* --- marks --- */

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

/* Without the system call everybody is made to stop and go, which orders as well. */
static bool has_membarrier(const struct soft_vm *vm)
{
    return vm->vcpu_count == 1 || vm->has_membarrier;
}

static void revoke_writes(struct soft_cpu *cpu, uint64_t physical)
{
    struct soft_vm *vm = cpu->vm;
    const uint8_t *host = guestmem_pointer(vm->memory, gpa(physical & ~SOFT_PAGE_MASK), 1);
    pthread_mutex_lock(&vm->cpus_lock);
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        struct soft_cpu *other = atomic_load(&vm->cpus[i]);
        if (other != NULL) {
            soft_tlb_take_write_tags(other, host);
            __atomic_store_n(&other->write_revoked, 1, __ATOMIC_RELEASE); /* after the tags */
        }
    }
    pthread_mutex_unlock(&vm->cpus_lock);
    translate_stack_clear_stores(cpu); /* the others do when they see write_revoked */
    if (vm->vcpu_count > 1 && vm->has_membarrier) {
        /* Every thread of the process passes a full barrier before this returns. */
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    }
}

static void change_marks_begin(struct soft_vm *vm)
{
    pthread_mutex_lock(&vm->code_marks_lock);
    atomic_store(&vm->code_marks_changing, true);
}

static void change_marks_end(struct soft_vm *vm)
{
    atomic_store(&vm->code_marks_changing, false);
    pthread_mutex_unlock(&vm->code_marks_lock);
}

static void add_marks(struct soft_cpu *cpu, _Atomic(uint64_t) *word, uint64_t physical,
                      uint64_t bits)
{
    change_marks_begin(cpu->vm);
    if (atomic_fetch_or(word, bits) == 0) {
        revoke_writes(cpu, physical);
    }
    change_marks_end(cpu->vm);
}

void soft_code_mark(struct soft_cpu *cpu, uint64_t physical, unsigned int length)
{
    struct soft_vm *vm = cpu->vm;
    _Atomic(uint64_t) *word = soft_code_word(vm, physical);
    if (word == NULL) {
        return;
    }
    uint64_t bits = granule_bits(physical, length);
    hold(cpu, physical);
    if ((atomic_load(word) & bits) == bits && !atomic_load(&vm->code_marks_changing)) {
        return;
    }
    if (has_membarrier(vm)) {
        add_marks(cpu, word, physical, bits);
    } else {
        soft_exclusive_begin(cpu);
        add_marks(cpu, word, physical, bits);
        soft_exclusive_end(cpu);
    }
}

bool soft_code_is_plain(const struct soft_cpu *cpu, const _Atomic(uint64_t) *word)
{
    return word != NULL && atomic_load(word) == 0 && !atomic_load(&cpu->vm->code_marks_changing) &&
           (atomic_load(&cpu->attention) & SOFT_ATTENTION_CODE) == 0;
}

static bool is_posted(const struct soft_cpu *other, uint64_t page)
{
    for (unsigned int i = 0; i < other->code_request_count && i < SOFT_CODE_REQUESTS_MAX; i++) {
        if (other->code_requests[i] == page) {
            return true;
        }
    }
    return false;
}

/* Asks a vCPU to drop a page; when its list is full, everything. */
static void post_request(struct soft_cpu *other, uint64_t page)
{
    pthread_mutex_lock(&other->code_lock);
    bool posted = is_posted(other, page);
    if (!posted && other->code_request_count < SOFT_CODE_REQUESTS_MAX) {
        other->code_requests[other->code_request_count] = page;
    }
    if (!posted && other->code_request_count <= SOFT_CODE_REQUESTS_MAX) {
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
        if (other != NULL && other != self && soft_code_is_held(other, page << 12)) {
            post_request(other, page);
        }
    }
    pthread_mutex_unlock(&vm->cpus_lock);
}

/*
 * True if the store hit marked granules. The page's marks are then cleared and all but `self` told
 * to drop it: whoever decodes from it later marks it anew.
 */
static bool take_marks(struct soft_vm *vm, const struct soft_cpu *self, uint64_t physical,
                       uint64_t length)
{
    _Atomic(uint64_t) *word = soft_code_word(vm, physical);
    if (word == NULL) {
        return false;
    }
    uint64_t bits = granule_bits(physical, length);
    soft_host_fence();
    if ((atomic_load(word) & bits) == 0 && !atomic_load(&vm->code_marks_changing)) {
        return false;
    }
    change_marks_begin(vm);
    bool hit = (atomic_load(word) & bits) != 0;
    if (hit) {
        atomic_store(word, 0);
        post_to_others(vm, self, physical >> 12);
    }
    change_marks_end(vm);
    return hit;
}

bool soft_code_stored(struct soft_cpu *cpu, uint64_t physical, uint64_t length)
{
    if (!take_marks(cpu->vm, cpu, physical, length)) {
        return (atomic_load(&cpu->attention) & SOFT_ATTENTION_CODE) != 0;
    }
    soft_block_cache_drop_page(cpu, physical >> 12);
    return true;
}

void soft_code_external(void *context, gpa_t address, uint64_t length)
{
    struct soft_vm *vm = context;
    while (length > 0) {
        uint64_t rest = SOFT_PAGE_SIZE - (address.v & SOFT_PAGE_MASK);
        uint64_t piece = length < rest ? length : rest;
        take_marks(vm, NULL, address.v, piece);
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
        if (translate_is_on(cpu)) {
            translate_drop_all(cpu);
        }
        return;
    }
    for (unsigned int i = 0; i < count; i++) {
        soft_block_cache_drop_page(cpu, pages[i]);
    }
}
