/*
 * Images, and layers, made by a child process that can do nothing else: no file but the descriptors it was given, no network, no other program (Landlock,
 * seccomp), bounded memory. What it parses is hostile: tars, compressed streams, file systems.
 *
 * Blocks: workers only.
 */
#ifndef BANGER_IMAGE_WORKER_H
#define BANGER_IMAGE_WORKER_H

#include "image/image.h"
#include "image/layers.h"

enum worker_task {
	WORKER_TAR,        /* image_from_tar(), INPUT: the file */
	WORKER_DIR,        /* image_from_dir(), INPUT: the folder, the only one that it can read */
	WORKER_LAYERS,     /* image_from_layers() */
	WORKER_EXT4,       /* image_check_ext4() of OUTPUT, which is not empty; INPUT: -1 */
	WORKER_MEMBERS,    /* members_unpack(), INPUT: the file, OUTPUT: what its members are copied to */
	WORKER_PACK_WHOLE, /* layer_from_ext4() of INPUT: OUTPUT is the layer */
	WORKER_PACK_UPPER,
	WORKER_PACK_CHANGES, /* layer_from_changes() of INPUT over BASE: OUTPUT is the layer */
	WORKER_JOURNAL,      /* disk_add_journal() of OUTPUT, which is not empty; INPUT: -1 */
};

struct worker_request {
	enum worker_task task;
	int input, output; /* borrowed, above 2, as those of LAYERS are; OUTPUT: the empty file */
	int base;          /* likewise; of PACK_CHANGES alone */
	const struct image_layer *layers;
	size_t layer_count;
	const char *seed;
};

/*
 * As the function of the task, with its results and errors; -EIO: the child was killed (by what, and what to do), -ENOMEM: it wanted more
 * memory than it may have (sandbox.h). OP: progress, and cancellation ends the child. The program is the running one once more, whose
 * main() has to know worker_main().
 */
int worker_run(const struct worker_request *request, struct op *op, struct image_result *ret, struct err *e);

/* main() of the child, when argv[1] is WORKER_ARGUMENT: to be called before anything else. Ends the process itself. */
#define WORKER_ARGUMENT "--image-worker"
int worker_main(int argc, char **argv);

#endif
