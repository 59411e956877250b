/* A file that may be an image's archive: its members lie within the spool, or there is an error that says why. */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "image/members.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_close_ int in = memfd_create("tar", MFD_CLOEXEC), spool = memfd_create("spool", MFD_CLOEXEC);
	_cleanup_(members_freep) struct members *m = NULL;
	static const char *const names[] = {"index.json", "manifest.json", "oci-layout"};
	struct image_result result = {0};
	_cleanup_err_ struct err e = {0};

	if (in < 0 || spool < 0 || write(in, data, size) != (ssize_t)size || lseek(in, 0, SEEK_SET) != 0)
		abort();
	if (members_unpack(in, spool, NULL, &result, &e) < 0) {
		if (!e.text)
			abort();
		return 0;
	}
	if (result.entries == 0)
		return 0;
	/* What one half writes the other takes. */
	if (members_load(in, spool, &result, &m, &e) < 0)
		abort();
	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		const struct member *one = members_find(m, names[i]);

		if (one && one->in_place
				? one->offset > size || one->size > size - one->offset
				: one && (one->offset > result.size || one->size > result.size - one->offset))
			abort();
	}
	/* And of what the other half may have been made to write, it takes nothing that lies outside. */
	if (pwrite(spool, data, size, (off_t)result.size) < 0)
		abort();
	m = members_free(m);
	(void)members_load(in, spool, &result, &m, NULL);
	return 0;
}
