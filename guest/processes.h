/*
 * Who runs in this guest, by /proc.
 */
#ifndef BANGER_GUEST_PROCESSES_H
#define BANGER_GUEST_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The numbers of all processes in PROC (an open /proc), the kernel's own too, in order: children come after those that made them, until the kernel begins at the
 * lowest again. *RET is the caller's to free; as many as memory is there for.
 */
size_t processes_list(int proc, uint32_t **ret);

/*
 * True while somebody runs beside the first process, the caller and the kernel's own threads. Who has ended and whose parent doesn't ask (a zombie) runs no more. True
 * also where /proc can't tell.
 */
bool processes_others_run(void);

#endif
