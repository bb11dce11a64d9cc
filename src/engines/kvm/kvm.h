/*
 * The engine that uses Linux KVM through /dev/kvm.
 *
 * Purpose: the guest's CPUs run in the kernel's VT-x or SVM driver; interrupt controllers and the
 *          8254 live in the kernel where it offers them.
 * Source:  the kernel's "The Definitive KVM (Kernel-based Virtual Machine) API Documentation".
 * Owner:   the table of engines.
 * Thread:  as vm/engine.h says.
 *
 * Arguments (--engine kvm,…): irqchip=kernel|split|none says which interrupt controllers live in
 * the kernel: all (the default where it has them), the local APICs, or none.
 */
#ifndef TRAPEZE_ENGINES_KVM_KVM_H
#define TRAPEZE_ENGINES_KVM_KVM_H

#include "vm/engine.h"

extern const struct engine_ops kvm_engine;

#endif
