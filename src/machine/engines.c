/* The engines that are built in, best first. The one table: see vm/engine.h. */
#include "engines/kvm/kvm.h"
#include "engines/null/null.h"
#include "engines/soft/soft.h"
#include "engines/vtx/vtx.h"
#include "vm/engine.h"

const struct engine_ops *const engine_table[] = {
    &kvm_engine, &vtx_engine, &soft_engine, &null_engine, NULL,
};
