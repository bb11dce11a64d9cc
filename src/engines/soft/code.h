/*
 * Which pages hold code that some vCPU has decoded, and what happens when somebody writes there.
 *
 * Purpose: self-modifying and cross-modifying code, and writers that are no CPU (devices, loaders,
 *          the debugger): decoded instructions never outlive the bytes they came from.
 * Source:  Intel SDM volume 3, "Handling Self- and Cross-Modifying Code".
 *
 * The protocol. A page is cut into 64 granules. Before a vCPU decodes bytes it marks their granules
 * (soft_code_mark). The first mark of a page takes the write tags of that page from all TLBs, so
 * that every later store takes the slow path, which looks at the marks after it has stored. A store
 * that used a tag just taken away sees that when it checks the tag once more after storing; the
 * marking vCPU orders the two with a barrier that it imposes on all threads (membarrier), so that
 * the stores' fast path needs none.
 *
 * Translated code checks a tag once for several stores and keeps no entry at hand. With more than
 * one vCPU it therefore tests its own cpu->write_revoked after each store, which is set (1, on all
 * vCPUs) after tags were taken and before that barrier: a store is seen by whoever decodes, or sees
 * the byte. Then it leaves the block behind that store and treats it as one that lost its tag if
 * the page has no write tag any more (soft_code_stored). The byte is cleared by its vCPU alone,
 * with an atomic exchange and before it looks at tags again, the one of that store included.
 *
 * Marks change under a lock, and code_marks_changing says so for as long as their consequences are
 * not complete: the tags not yet taken away, the other vCPUs not yet told to drop the page. Who
 * finds it set does not trust what the marks say. So a vCPU that holds code of a page without marks
 * has a request to drop it (SOFT_ATTENTION_CODE); until it has served that, it gets no write tags
 * and ends its block after each slow store.
 *
 * Only those who hold code of a page are told to drop it. A vCPU says so (code_held) before it
 * looks at the marks, and whoever changes marks looks at that afterwards: either the mark is seen
 * to be missing, or the holder to be one. A vCPU that has served its request for a page holds none
 * of it.
 *
 * Owner:   the VM. Thread: any vCPU; soft_code_external from any thread.
 */
#ifndef TRAPEZE_ENGINES_SOFT_CODE_H
#define TRAPEZE_ENGINES_SOFT_CODE_H

#include "engines/soft/vm.h"

#define SOFT_GRANULE_SHIFT 6

int soft_code_create(struct soft_vm *vm, struct error *error);
void soft_code_destroy(struct soft_vm *vm);

/* A vCPU's own part of it. 0 or -errno; leave is allowed when enter has failed. */
int soft_code_enter(struct soft_cpu *cpu);
void soft_code_leave(struct soft_cpu *cpu);

/* The word of granule bits for the page at a guest physical address; NULL if it is no RAM or ROM.
 */
_Atomic(uint64_t) *soft_code_word(const struct soft_vm *vm, uint64_t physical);

/* May this vCPU hold code of a page? If not, there is none to be dropped. */
bool soft_code_is_held(const struct soft_cpu *cpu, uint64_t physical);
/* It has dropped all that it held. */
void soft_code_release(struct soft_cpu *cpu, uint64_t physical);

/* Marks [physical, physical + length), within one page, as code about to be decoded. */
void soft_code_mark(struct soft_cpu *cpu, uint64_t physical, unsigned int length);

/* True if no vCPU holds code of the page with these marks, so that stores to it need not be seen.
 */
bool soft_code_is_plain(const struct soft_cpu *cpu, const _Atomic(uint64_t) *word);

/*
 * After a store by this vCPU to [physical, physical + length), within one page, that took the slow
 * path: drops decoded code on every vCPU if it hit any. True if the running block may be stale.
 */
bool soft_code_stored(struct soft_cpu *cpu, uint64_t physical, uint64_t length);

/* The same for a writer that is no vCPU (guestmem's listener). */
void soft_code_external(void *vm, gpa_t address, uint64_t length);

/* Serves what others posted for this vCPU; on SOFT_ATTENTION_CODE. */
void soft_code_serve_requests(struct soft_cpu *cpu);

#endif
