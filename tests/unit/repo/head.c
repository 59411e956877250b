/* HEAD as its files say it is, beside what git says; and when it is git that has to be asked. */
#include "lib/repo_bench.h"
#include "repo/head.h"

/*
 * After SCRIPT: what the files alone say, NULL where git has to be asked. What the daemon tells in the end is git's own answer, "" where it has none.
 */
static char *read_after(struct bench *b, const char *script)
{
	_cleanup_free_ char *source = NULL, *home = NULL, *asked = NULL, *check = NULL;
	_cleanup_close_ int fd = -EBADF;
	char *got = NULL;
	int r;

	sh(b, script);
	assert_true(asprintf(&source, "%s/src", b->dir) > 0 && asprintf(&home, "%s/home", b->dir) > 0);
	fd = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = head_read(fd, &got);
	assert_int_equal(r, got ? 0 : -ENOENT);
	r = checkout_head(source, "", home, &asked, NULL);
	assert_true(asprintf(&check, "[ \"$(git -C src rev-parse -q --verify 'HEAD^{commit}')\" = '%s' ]",
			    r == 0 ? asked : "") > 0);
	if (!holds(b, check))
		fail_msg("%s: %s", script, r == 0 ? asked : "");
	if (got)
		assert_string_equal(asked, got);
	return got;
}

static void plain(struct bench *b, const char *script)
{
	_cleanup_free_ char *got = read_after(b, script);

	if (!got)
		fail_msg("%s: git has to be asked", script);
}

static void asks(struct bench *b, const char *script)
{
	_cleanup_free_ char *got = read_after(b, script);

	if (got)
		fail_msg("%s: %s", script, got);
}

#define COMMIT "git commit -q --allow-empty -m x"

static void branches(void **state)
{
	struct bench *b = *state;

	plain(b, "cd src; git init -q .; " COMMIT);
	plain(b, "cd src; " COMMIT);
	plain(b, "cd src; git switch -q -c topic/deep; " COMMIT);
	plain(b, "cd src; git switch -q main");
	plain(b, "cd src; git switch -q --detach; " COMMIT);
	plain(b, "cd src; git tag -a -m t v1; git switch -q --detach v1");
	plain(b, "git clone -q src other; rm -rf src; mv other src");
}

static void packed(void **state)
{
	struct bench *b = *state;

	plain(b, "cd src; git init -q .; " COMMIT
		 "; git branch mai; git branch main2; git tag -a -m t v1; git tag "
		 "a/refs/heads/main; " COMMIT "; git pack-refs --all; test ! -e .git/refs/heads/main");
	/* The first line of a file without a header is a ref too. */
	plain(b, "cd src; grep -v '^#' .git/packed-refs >p; grep ' refs/heads/main$' p >.git/packed-refs; rm "
		 "p");
	plain(b, "cd src; " COMMIT "; test -e .git/refs/heads/main");
	plain(b, "cd src; git gc -q --prune=now; test ! -e .git/refs/heads/main");
	plain(b, "cd src; git switch -q -c topic; " COMMIT "; git pack-refs --all");
}

static void names(void **state)
{
	struct bench *b = *state;

	plain(b, "cd src; git init -q --object-format=sha256 .; " COMMIT);
	plain(b, "cd src; git pack-refs --all");
}

static void git_knows(void **state)
{
	struct bench *b = *state;

	asks(b, "true");
	asks(b, "cd src; git init -q .");
	asks(b, "cd src; " COMMIT "; git switch -q --orphan empty");
	/* Another's repository, and one that lies elsewhere. */
	asks(b, "cd src; git switch -q main; mv .git ../other; ln -s ../other .git");
	asks(b, "cd src; rm .git; mv ../other .git; git worktree add -q ../lib; cd ..; mv src private; mv "
		"lib src; "
		"git -C private worktree repair ../src 2>/dev/null");
	asks(b, "rm -rf src; mv private src; cd src; git worktree prune; git symbolic-ref refs/heads/alias "
		"refs/heads/main; git "
		"symbolic-ref HEAD refs/heads/alias");
	/* A folder has taken the place of a ref that is packed. */
	asks(b, "cd src; git symbolic-ref HEAD refs/heads/main; git pack-refs --all; mkdir -p "
		".git/refs/heads/main; touch "
		".git/refs/heads/main/x");
	asks(b, "cd src; rm -r .git/refs/heads/main; mv .git/HEAD .git/aside; ln -s aside .git/HEAD");
	asks(b, "cd src; rm .git/HEAD; mv .git/aside .git/HEAD; echo 'ref: refs/heads/.invalid' >.git/HEAD");
	asks(b, "cd src; echo 'ref: refs/heads/../../../home/secret' >.git/HEAD; echo "
		"0123456789012345678901234567890123456789 "
		">../home/secret");
	/* More than is looked through. */
	asks(b, "cd src; git symbolic-ref HEAD refs/heads/main; c=$(git rev-parse HEAD); seq -f \"create "
		"refs/tags/%06.0f $c\" "
		"20000 | git update-ref --stdin; git pack-refs --all");
	if (geteuid() == 0)
		asks(b, "chown 12345 src/.git");
}

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(branches), TEST(packed), TEST(names), TEST(git_knows)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
