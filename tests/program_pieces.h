/*
 * The pieces that random programs are made of, each with one of a translator's difficulties in it.
 *
 * Purpose: between program_generate.c, which strings them together, and the files that make them.
 * Owner:   program_generate. Thread: its own.
 */
#ifndef TRAPEZE_TESTS_PROGRAM_PIECES_H
#define TRAPEZE_TESTS_PROGRAM_PIECES_H

#include "program_emit.h"

/* Loops and calls are not made deeper than this. */
#define PROGRAM_DEPTH_MAX 2

/* One piece of any kind (program_generate.c). */
void program_piece(struct program_maker *maker);

/* --- data (program_pieces.c) --- */

void program_some_simple(struct program_maker *maker);
/* Many accesses by one base, as an optimizer would have them share a check. */
void program_group(struct program_maker *maker);
/* Flags that are written here and read there. */
void program_flags(struct program_maker *maker);
/* Accesses relative to RSP while it moves. */
void program_stack(struct program_maker *maker);
void program_strings(struct program_maker *maker);
/* Instructions of the kernel, and such as end a block. */
void program_system_piece(struct program_maker *maker);

/* Vector, MMX and x87 instructions (program_vector.c). */
void program_vectors(struct program_maker *maker);

/* --- control (program_flow.c) --- */

#define PROGRAM_JCC(condition) (0x0f80u | (condition))
#define PROGRAM_JUMP           0xe9u
#define PROGRAM_CALL           0xe8u

/* A branch of 32 bits' distance, to be settled by program_land. Returns where its field ends. */
unsigned int program_jump(struct program_maker *maker, unsigned int opcode);
/* The branch leads here. */
void program_land(struct program_maker *maker, unsigned int end);
/* … to an offset in to->code. */
void program_land_at(struct program_maker *maker, unsigned int end, unsigned int target);

void program_skip_forward(struct program_maker *maker);
void program_loop(struct program_maker *maker);
/* Anywhere, by register, by memory, or by a return. */
void program_branch_by_table(struct program_maker *maker);
void program_call(struct program_maker *maker);

/* --- code that changes (program_modify.c) --- */

void program_modify(struct program_maker *maker);
/* Backwards, as long as there is fuel (program_flow.c). */
void program_go_back(struct program_maker *maker, unsigned int head);

#endif
