#include "vtx/linux/memory.h"

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/hugetlb_inline.h>
#include <linux/io.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#define PAGES_2M               ((unsigned long)(VTX_SIZE_2M / PAGE_SIZE))
#define GUEST_ADDRESS_BITS_MAX 48u /* of an EPT with four levels */

/* ---- slots ---- */

static bool is_aligned(const struct trapeze_vtx_memory *memory)
{
    return ((memory->guest_address | memory->length | memory->user_address) & ~PAGE_MASK) == 0;
}

static bool is_valid(const struct vm *vm, const struct trapeze_vtx_memory *memory)
{
    u64 limit = 1ull << min(vm->core.capabilities->physical_address_bits, GUEST_ADDRESS_BITS_MAX);
    return (memory->flags & ~TRAPEZE_VTX_READ_ONLY) == 0 && memory->reserved0 == 0 &&
           memory->reserved[0] == 0 && memory->reserved[1] == 0 && is_aligned(memory) &&
           memory->length != 0 && memory->length <= limit &&
           memory->guest_address <= limit - memory->length &&
           access_ok((void __user *)memory->user_address, memory->length);
}

static bool overlaps(const struct vm *vm, const struct trapeze_vtx_memory *memory)
{
    unsigned int i;
    for (i = 0; i < vm->slot_count; i++) {
        const struct vtx_memory_slot *slot = &vm->slots[i];
        if (memory->guest_address < slot->start + slot->length &&
            slot->start < memory->guest_address + memory->length) {
            return true;
        }
    }
    return false;
}

static int add_slot(struct vm *vm, const struct trapeze_vtx_memory *memory)
{
    unsigned int index = vm->slot_count;
    if (vm->is_started) {
        return -EBUSY;
    }
    if (index == TRAPEZE_VTX_SLOTS_MAX) {
        return -ENOSPC;
    }
    if (overlaps(vm, memory)) {
        return -EEXIST;
    }
    vm->slots[index] =
        (struct vtx_memory_slot){.start = memory->guest_address,
                                 .length = memory->length,
                                 .is_read_only = (memory->flags & TRAPEZE_VTX_READ_ONLY) != 0};
    vm->user_address[index] = memory->user_address;
    if (vtx_vm_set_memory(&vm->core, vm->slots, index + 1) != VTX_OK) {
        return -EINVAL;
    }
    vm->slot_count = index + 1;
    return 0;
}

int memory_add_slot(struct vm *vm, const struct trapeze_vtx_memory *memory)
{
    int code;
    if (!is_valid(vm, memory)) {
        return -EINVAL;
    }
    if (mutex_lock_killable(&vm->lock) != 0) {
        return -EINTR;
    }
    code = add_slot(vm, memory);
    mutex_unlock(&vm->lock);
    return code;
}

/* ---- pages ---- */

/*
 * A file system writes a file's page back and takes it for clean until a program writes to it,
 * which a guest does without its knowledge. Files that are nowhere but in memory are not written
 * back, and a private mapping has no page of the file once it was written to.
 */
static bool may_be_pinned(const struct vm_area_struct *area)
{
    return (area->vm_flags & VM_MAYSHARE) == 0 || area->vm_file == NULL ||
           is_vm_hugetlb_page((struct vm_area_struct *)area) ||
           file_inode(area->vm_file)->i_sb->s_magic == TMPFS_MAGIC;
}

/* All that is mapped there. A hole in it is found by the pinning. The mm's lock is held. */
static bool may_all_be_pinned(unsigned long user, unsigned long count)
{
    unsigned long end = user + count * PAGE_SIZE;
    struct vm_area_struct *area = find_vma(current->mm, user);
    while (area != NULL && area->vm_start < end) {
        if (!may_be_pinned(area)) {
            return false;
        }
        area = area->vm_end < end ? find_vma(current->mm, area->vm_end) : NULL;
    }
    return true;
}

/* The process may take them away from itself meanwhile: the guest keeps what it was given. */
static long pin(unsigned long user, unsigned long count, struct page **pages)
{
    long done = -EOPNOTSUPP;
    if (mmap_read_lock_killable(current->mm) != 0) {
        return -EINTR;
    }
    if (may_all_be_pinned(user, count)) {
        done = pin_user_pages(user, count, FOLL_WRITE | FOLL_LONGTERM, pages, NULL);
    }
    mmap_read_unlock(current->mm);
    if (done > 0 && done < count) {
        unpin_user_pages(pages, done);
        return -EFAULT;
    }
    return done == 0 ? -EFAULT : done;
}

/* Takes pages out of what the process may have pinned: RLIMIT_MEMLOCK, as for mlock. */
static bool charge(struct mm_struct *mm, unsigned long count)
{
    u64 pinned = atomic64_add_return(count, &mm->pinned_vm);
    if (pinned <= rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT || capable(CAP_IPC_LOCK)) {
        return true;
    }
    atomic64_sub(count, &mm->pinned_vm);
    return false;
}

static void uncharge(struct mm_struct *mm, unsigned long count)
{
    atomic64_sub(count, &mm->pinned_vm);
}

static enum vtx_status map_pages(struct vm *vm, const struct vtx_memory_slot *slot, u64 address,
                                 struct page *first, u64 size)
{
    unsigned int permissions = slot->is_read_only ? VTX_EPT_READ | VTX_EPT_EXECUTE : VTX_EPT_ALL;
    return vtx_ept_map(&vm->core.ept, address, page_to_phys(first), size, permissions,
                       VTX_WRITE_BACK, size);
}

static int map_small(struct vm *vm, const struct vtx_memory_slot *slot, u64 address,
                     unsigned long user)
{
    struct page *page;
    enum vtx_status status;
    long done;
    if (!charge(vm->mm, 1)) {
        return -EDQUOT;
    }
    done = pin(user, 1, &page);
    if (done < 0) {
        uncharge(vm->mm, 1);
        return done;
    }
    status = map_pages(vm, slot, address, page, PAGE_SIZE);
    if (status != VTX_OK) {
        unpin_user_page(page);
        uncharge(vm->mm, 1);
        return status == VTX_NO_MEMORY ? -ENOMEM : -EINVAL;
    }
    vm->pages_small++;
    return 0;
}

static bool are_one_large_page(struct page **pages)
{
    unsigned long i;
    for (i = 1; i < PAGES_2M; i++) {
        if (page_to_pfn(pages[i]) != page_to_pfn(pages[0]) + i) {
            return false;
        }
    }
    return (page_to_phys(pages[0]) & (VTX_SIZE_2M - 1)) == 0;
}

/* All 2 MiB around an address, if the host has them in one piece. False: nothing was done. */
static bool map_large(struct vm *vm, const struct vtx_memory_slot *slot, u64 address,
                      unsigned long user, struct page **pages)
{
    if (!charge(vm->mm, PAGES_2M)) {
        return false;
    }
    if (pin(user, PAGES_2M, pages) < 0) {
        uncharge(vm->mm, PAGES_2M);
        return false;
    }
    if (!are_one_large_page(pages) ||
        map_pages(vm, slot, address, pages[0], VTX_SIZE_2M) != VTX_OK) {
        unpin_user_pages(pages, PAGES_2M);
        uncharge(vm->mm, PAGES_2M);
        return false;
    }
    vm->pages_large++;
    return true;
}

/* Whether it is worth a try: the slot has all of it, nothing is mapped, and a huge page is there.
 */
static bool may_be_large(const struct vm *vm, const struct vtx_memory_slot *slot, u64 address,
                         unsigned long user, u64 hole)
{
    u64 start = ALIGN_DOWN(address, VTX_SIZE_2M);
    struct page *page;
    bool is_huge;
    if (hole < VTX_SIZE_2M || start < slot->start ||
        slot->start + slot->length - start < VTX_SIZE_2M ||
        ((user - address) & (VTX_SIZE_2M - 1)) != 0 || pin(user, 1, &page) < 0) {
        return false;
    }
    is_huge = compound_nr(compound_head(page)) >= PAGES_2M;
    unpin_user_page(page);
    return is_huge;
}

static int map(struct vm *vm, u64 address)
{
    const struct vtx_memory_slot *slot = vtx_vm_slot(&vm->core, address);
    struct vtx_ept_entry entry;
    struct page **pages;
    unsigned long user;
    bool done = false;
    if (slot == NULL) {
        return -EFAULT;
    }
    if (vtx_ept_walk(&vm->core.ept, address, &entry)) {
        return 0; /* another vCPU was faster */
    }
    user = vm->user_address[slot - vm->core.slots] + (address - slot->start);
    if (may_be_large(vm, slot, address, user, entry.size)) {
        pages = kmalloc_array(PAGES_2M, sizeof(*pages), GFP_KERNEL);
        if (pages != NULL) {
            done = map_large(vm, slot, ALIGN_DOWN(address, VTX_SIZE_2M),
                             ALIGN_DOWN(user, VTX_SIZE_2M), pages);
            kfree(pages);
        }
    }
    return done ? 0 : map_small(vm, slot, address, user);
}

int memory_map(struct vm *vm, u64 address)
{
    int code;
    if (mutex_lock_killable(&vm->lock) != 0) {
        return -EINTR;
    }
    code = map(vm, ALIGN_DOWN(address, PAGE_SIZE));
    mutex_unlock(&vm->lock);
    return code;
}

static void release_slot(struct vm *vm, const struct vtx_memory_slot *slot)
{
    u64 address = slot->start, end = slot->start + slot->length;
    struct vtx_ept_entry entry;
    while (address < end) {
        bool is_mapped = vtx_ept_walk(&vm->core.ept, address, &entry);
        if (is_mapped) {
            unsigned long count = entry.size / PAGE_SIZE;
            unpin_user_page_range_dirty_lock(pfn_to_page(PHYS_PFN(entry.physical)), count,
                                             !slot->is_read_only);
            uncharge(vm->mm, count);
        }
        address = ALIGN_DOWN(address, entry.size) + entry.size;
        cond_resched();
    }
}

void memory_release(struct vm *vm)
{
    unsigned int i;
    for (i = 0; i < vm->slot_count; i++) {
        release_slot(vm, &vm->slots[i]);
    }
    vm->slot_count = 0;
}
