/*
 * The core's headers for files that include the kernel's as well.
 *
 * Purpose: both spell some names as the manuals do. Included first, this takes the project's
 *          macros away where the kernel has its own of the same meaning; enumerators of the same
 *          name (X86_FEATURE_…) are hidden by the kernel's macros later, and not used here.
 * Owner, thread: none.
 */
#ifndef TRAPEZE_VTX_LINUX_CORE_H
#define TRAPEZE_VTX_LINUX_CORE_H

#include "vtx/core/injection.h"
#include "vtx/core/vcpu.h"
#include "x86/msr.h"

#undef X86_CR0_PE
#undef X86_CR0_MP
#undef X86_CR0_EM
#undef X86_CR0_TS
#undef X86_CR0_ET
#undef X86_CR0_NE
#undef X86_CR0_WP
#undef X86_CR0_AM
#undef X86_CR0_NW
#undef X86_CR0_CD
#undef X86_CR0_PG
#undef X86_CR3_PCID_MASK
#undef X86_CR4_VME
#undef X86_CR4_PVI
#undef X86_CR4_TSD
#undef X86_CR4_DE
#undef X86_CR4_PSE
#undef X86_CR4_PAE
#undef X86_CR4_MCE
#undef X86_CR4_PGE
#undef X86_CR4_PCE
#undef X86_CR4_OSFXSR
#undef X86_CR4_OSXMMEXCPT
#undef X86_CR4_UMIP
#undef X86_CR4_LA57
#undef X86_CR4_VMXE
#undef X86_CR4_SMXE
#undef X86_CR4_FSGSBASE
#undef X86_CR4_PCIDE
#undef X86_CR4_OSXSAVE
#undef X86_CR4_SMEP
#undef X86_CR4_SMAP
#undef X86_CR4_PKE
#undef X86_CR4_CET

#endif
