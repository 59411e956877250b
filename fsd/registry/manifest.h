/*
 * The documents of an image: index (manifest list), manifest, configuration. (OCI image-spec 1.1 image-index.md, manifest.md, config.md; Docker
 * image manifest v2 schema 2.) All of it comes from strangers: sizes, depths and numbers are bounded, every digest has passed
 * digest_check(), and what is kept is copied.
 *
 * Pure functions, any thread. Errors are -EBADMSG unless said, and name the field.
 */
#ifndef BANGER_REGISTRY_MANIFEST_H
#define BANGER_REGISTRY_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "banger/cleanup.h"
#include "banger/err.h"

#define MANIFEST_BYTES_MAX                                                                                   \
	(4u * 1024 * 1024) /* distribution-spec: registries SHOULD take manifests up to 4 MiB */
#define CONFIG_BYTES_MAX    (8u * 1024 * 1024)
#define MANIFEST_LAYERS_MAX 500
#define INDEX_ENTRIES_MAX   1000

/* For Accept, comma-separated: everything that manifest_parse() takes. */
extern const char manifest_accept[];

struct platform {
	char *os, *arch, *variant; /* "linux", "amd64", "" : GOOS and GOARCH names */
};

struct descriptor {
	char *media_type, *digest;
	uint64_t size;
	struct platform platform; /* in an index; all NULL: not said */
	char **urls;              /* foreign layers; NULL-terminated, or NULL */
	bool attestation; /* of BuildKit's: annotation vnd.docker.reference.type, or platform unknown */
};

enum manifest_kind {
	MANIFEST_IMAGE,
	MANIFEST_INDEX,
};

struct manifest {
	enum manifest_kind kind;
	char *media_type;
	struct descriptor config;   /* of an image */
	struct descriptor *entries; /* an image's layers, lowest first; an index's manifests */
	size_t count;
};

/*
 * Parses N bytes. CONTENT_TYPE: what the server called them, or NULL. -EBADMSG: no JSON, both an index and an image, a media type that
 * is another than what is in it or than CONTENT_TYPE (CVE-2021-41190), a field missing; -EOPNOTSUPP: schema 1, or what is no image at all (an
 * artifact), with what it is; -EFBIG.
 */
int manifest_parse(
	const char *text, size_t n, const char *content_type, struct manifest **ret, struct err *e);
struct manifest *manifest_free(struct manifest *m);
DEFINE_CLEANUP(struct manifest *, manifest_free)

/* TEXT is "linux/amd64", "linux/arm64/v8", or "" for the machine this runs on (its best variant included). -EINVAL. */
int platform_parse(const char *text, struct platform *ret, struct err *e);
void platform_clear(struct platform *p);
/* "linux/arm64/v8". The caller's; -ENOMEM. */
int platform_text(const struct platform *p, char **ret, struct err *e);

/* Whether an image for HAVE runs where WANTED is asked for: the same, or a variant that it includes. */
bool platform_fits(const struct platform *have, const struct platform *wanted);

/*
 * The entries of INDEX that may be what WANTED asks for, best first: numbers into entries in RET (room for count), their number in
 * *RET_N. An entry that is itself an index, or names no platform, comes last: one has to look. -ENOENT: none, E lists the platforms that there are.
 */
int manifest_choose(const struct manifest *index, const struct platform *wanted, size_t *ret, size_t *ret_n,
	struct err *e);
/* Whether a media type (of a descriptor) is that of an index, of an image's manifest. */
bool media_type_is_index(const char *media_type);
bool media_type_is_image(const char *media_type);

/* What the image says of itself. Lists are NULL-terminated and never NULL; strings never NULL. */
struct image_config {
	struct platform platform;
	char **env; /* "K=V" */
	char **entrypoint, **cmd;
	char *workdir, *user, *stop_signal;
	char **ports;    /* "80/tcp", sorted */
	char **volumes;  /* sorted */
	char **labels;   /* "K=V", sorted */
	char **diff_ids; /* each checked */
	size_t diff_count;
	char *created; /* RFC 3339, or "" */
};

int image_config_parse(const char *text, size_t n, struct image_config **ret, struct err *e);
struct image_config *image_config_free(struct image_config *c);
DEFINE_CLEANUP(struct image_config *, image_config_free)

#endif
