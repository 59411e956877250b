/* A checkout looked at and brought, by the guest's own program on this host; and by guests that lie. */
#include <sys/prctl.h>

#include "lib/repo_bench.h"

/* SCRIPT, and then the checkout into the guest. */
static void make_and_bring(struct bench *b, const char *script)
{
	sh(b, script);
	if (bring(b, false) != 0)
		fail_msg("%s: %s", script, b->text);
}

/* Likewise, as if nothing had ever been brought. */
static void start_over(struct bench *b, const char *script)
{
	b->before = prepared_free(b->before);
	make_and_bring(b, script);
}

static void any_folder(void **state)
{
	struct bench *b = *state;

	make_and_bring(b,
		"cd src; mkdir -p a/b empty; echo x > a/b/c; printf 'n' > 'two\nlines'; ln -s a/b/c inside; "
		"ln -s ../../etc/passwd out; ln -s /etc abs; "
		"mkfifo pipe; echo x > unreadable; mkdir -p .hidden; echo h > .hidden/h; head -c 3000000 "
		"/dev/urandom > big; touch -d 2001-02-03 big; "
		"chmod 0750 a/b/c");
	assert_true(noted(b, "left out: out: a link that leads out"));
	assert_true(noted(b, "left out: abs: a link that leads out"));
	assert_true(noted(b, "left out: pipe: a pipe"));
	sh(b, "rm src/out src/abs src/pipe; " SAME);
	assert_true(holds(b, "test $(stat -c %a.%Y guest/a/b/c) = 750.$(stat -c %Y src/a/b/c) && test $(stat "
			     "-c %Y guest/big) = $(stat -c %Y src/big)"));
	assert_true(b->result.bytes >= 3000000);
	assert_false(holds(b, "test -e guest/.git"));
	assert_int_equal(bring_from(b, "src", "main", false), -EINVAL);
}

static void no_such_folder(void **state)
{
	struct bench *b = *state;

	assert_int_equal(bring_from(b, "none", "", false), -ENOENT);
	sh(b, "echo > src/file");
	assert_int_equal(bring_from(b, "src/file", "", false), -ENOTDIR);
}

/* What is ignored stays; what is tracked goes, ignored or not, committed or not. */
static void as_it_stands(void **state)
{
	struct bench *b = *state;

	make_and_bring(b,
		"cd src; git init -q .; printf '*.o\nout/\n' > .gitignore; mkdir -p d out; echo 1 > d/f; "
		"echo f > forced.o; printf 'n' > 'two\nlines'; "
		"ln -s /etc/passwd tracked; git add .; git add -f forced.o; git commit -q -m one; echo 2 >> "
		"d/f; echo u > untracked; echo i > x.o; echo i > out/x; "
		"echo gone > gone; git add gone; rm gone; ln -s /etc/shadow out2");
	sh(b, "rm -r src/x.o src/out src/out2; " SAME);
	assert_true(b->before->is_git);
	assert_true(b->before->dirty);
	assert_true(holds(b, "git -C guest log --format=%s | grep -qx one"));
	sh(b, "git -C src status --porcelain > a; git -C guest status --porcelain > b; diff a b; rm a b");
	assert_true(holds(b, "test \"$(git -C guest config user.email)\" = me@example.com"));
	assert_true(holds(b, "git -C guest fsck --full"));
	/* The commit that changes are told against is all of what was brought. */
	assert_true(holds(b, "cd guest && git add -A . && test -z \"$(git diff --cached --name-only "
			     "refs/banger/prepared)\""));
}

static void the_difference(void **state)
{
	struct bench *b = *state;

	make_and_bring(b, "cd src; git init -q .; for i in 1 2 3 4 5; do echo $i > f$i; done; mkdir -p "
			  "deep/er; echo x > deep/er/x; git add .; git commit -q -m one");
	assert_int_equal(bring(b, false), 0);
	assert_int_equal(b->result.files + b->result.removed, 0);
	make_and_bring(
		b, "cd src; echo more >> f1; rm f2; rm -r deep; echo new > new; chmod 755 f3; ln -sf f4 f5");
	assert_int_equal(b->result.files, 4);
	assert_int_equal(b->result.removed, 2);
	sh(b, SAME);
	assert_false(holds(b, "test -e guest/deep"));
	/* A file where a folder was, a folder where a file was. */
	make_and_bring(b, "cd src; rm f3 f4 f5; mkdir f4; echo x > f4/x; mkdir -p f3/a; echo y > f3/a/y");
	make_and_bring(b, SAME "; rm -r src/f4; echo file > src/f4");
	sh(b, SAME);
}

static void the_guests_work(void **state)
{
	struct bench *b = *state;

	make_and_bring(b, "cd src; git init -q .; for i in 1 2 3 4 5 6; do echo $i > f$i; done; git add .; "
			  "git commit -q -m one");
	sh(b, "cd guest; echo mine > f1; echo both > f2; rm f3; echo mine > f4; echo mine > own; rm f6; "
	      "mkdir f6; echo mine > f6/x");
	sh(b, "cd src; echo yours > f1; echo both > f2; echo yours > f3; rm f4; echo yours > f5; echo yours "
	      "> own; echo yours > f6");
	assert_int_equal(bring(b, false), -EEXIST);
	assert_non_null(strstr(b->text, "f1, f3, f4 and 2 more"));
	/* Not even what was no conflict. */
	assert_true(holds(b, "test $(cat guest/f5) = 5 && test $(cat guest/f1) = mine"));
	make_and_bring(b, "cd src; git checkout -q f1 f3 f4 f6; rm own");
	assert_true(holds(b, "test $(cat guest/f1) = mine && test ! -e guest/f3 && test $(cat guest/own) = "
			     "mine && test $(cat guest/f5) = yours"));
	sh(b, "cd src; echo yours > f1; rm f4; echo yours > f6");
	assert_int_equal(bring(b, true), 0);
	assert_true(holds(b, "test $(cat guest/f1) = yours && test ! -e guest/f4 && test $(cat guest/f6) = "
			     "yours && test $(cat guest/own) = mine"));
}

static void histories(void **state)
{
	struct bench *b = *state;

	make_and_bring(b,
		"cd src; git init -q .; echo 1 > f; git add .; git commit -q -m one; git tag v1; echo 2 > f; "
		"git commit -q -am two");
	assert_true(holds(b, "cd guest && git describe --tags | grep -q v1-1"));
	/* The guest goes on: its commits stay, and are overwritten by nobody. */
	make_and_bring(b, "cd guest; git add .; echo 3 > f; git commit -q -am three");
	assert_true(holds(b, "git -C guest log -1 --format=%s | grep -qx three"));
	sh(b, "cd src; echo 4 > g; git add g; git commit -q -m four; git tag v2");
	assert_int_equal(bring(b, false), -EEXIST);
	assert_non_null(strstr(b->text, ".git (it has commits"));
	/* Taken over by the host, they are in the way of nothing. */
	make_and_bring(b, "cd src; git pull -q --no-rebase --no-edit ../guest main");
	assert_true(holds(b, "cd guest && git log --format=%s | grep -qx four && git log --format=%s | grep "
			     "-qx three && git fsck && git describe --tags | grep -q v2"));
	sh(b, "cd guest; echo 5 > f; git commit -q -am five; cd ../src; echo 6 > g; git commit -q -am six");
	assert_int_equal(bring(b, true), 0);
	assert_true(holds(b, "cd guest && git log -1 --format=%s | grep -qx six && git log -1 --format=%s "
			     "main.before-prepare | grep -qx five"));
	/* A repository without a commit; then with its first. */
	start_over(b, "rm -rf src guest; mkdir src; cd src; git init -q .; echo 1 > f");
	make_and_bring(b, "cd src; git add .; git commit -q -m first");
	assert_true(holds(b, "git -C guest log --format=%s | grep -qx first && git -C guest fsck"));
}

static void shapes(void **state)
{
	struct bench *b = *state;

	/* Shallow, detached, a linked worktree, a submodule, a repository that is none of it, a merge that is going on. */
	make_and_bring(b, "mkdir lib other; cd lib; git init -q .; for i in 1 2 3; do echo $i > l; git add "
			  ".; git commit -q -m lib$i; done; cd ..; rm -r src; "
			  "git clone -q --depth 1 file://$PWD/lib src; cd src; git checkout -q --detach");
	assert_true(holds(b, "cd guest && test $(git rev-list --count HEAD) = 1 && git rev-parse "
			     "--is-shallow-repository | grep -q true && git fsck"));
	assert_false(holds(b, "git -C guest symbolic-ref -q HEAD"));
	start_over(b, "rm -rf guest src other; git -C lib worktree add -q ../src -b wt; echo w >> src/l");
	assert_true(holds(b, "cd guest && test -d .git && git symbolic-ref HEAD | grep -q refs/heads/wt && "
			     "git status --porcelain | grep -q ' M l' && git fsck"));
	start_over(b,
		"rm -rf guest; git -C lib worktree remove --force ../src; mkdir src; cd src; git init -q .; "
		"echo 1 > f; git add .; git commit -q -m one; "
		"git -c protocol.file.allow=always submodule -q add $PWD/../lib sub/lib; git commit -q -m "
		"sub; "
		"echo dirty >> sub/lib/l; git init -q nested; echo n > nested/n; "
		"git checkout -q -b side; echo side > f; git commit -q -am side; git checkout -q main; echo "
		"main > f; git commit -q -am main; ! git merge side");
	sh(b, SAME);
	assert_true(
		holds(b, "cd guest && git -C sub/lib log -1 --format=%s | grep -qx lib3 && git -C sub/lib "
			 "status --porcelain | grep -q l && git status --porcelain | grep -q '^UU f' && "
			 "test -d nested/.git && git fsck"));
	assert_int_equal(b->before->repo_count, 3);
}

/* Files whose contents a filter of the user's keeps elsewhere: what stands here goes, and the guest has the pointer in its history. */
static void pointers(void **state)
{
	struct bench *b = *state;

	make_and_bring(b, "mkdir other; printf '#!/bin/sh\\nprintf \"version lfs\\\\noid %s\\\\n\" "
			  "$(sha256sum | cut -c 1-8)\\n' > other/clean; chmod 755 other/clean; "
			  "git config --global filter.lfs.clean $PWD/other/clean; git config --global "
			  "filter.lfs.smudge cat; "
			  "cd src; git init -q .; echo '*.big filter=lfs -text' > .gitattributes; echo "
			  "contents > a.big; "
			  "echo contents > b.big; echo t > t; git add .; git commit -q -m one; git cat-file "
			  "-p HEAD:a.big | grep -q 'version lfs'; "
			  "git show HEAD:b.big > b.big");
	/* One that was fetched, and one that is the pointer still. */
	assert_true(holds(b, "test $(cat guest/a.big) = contents && grep -q 'version lfs' guest/b.big"));
	assert_true(holds(b, "git -C guest cat-file -p HEAD:a.big | grep -q 'version lfs'"));
	make_and_bring(b, "cd src; echo other > a.big");
	assert_int_equal(b->result.files, 1);
	make_and_bring(b, SAME);
	assert_int_equal(b->result.files, 0);
}

/* A commit instead of the files as they stand. */
static void by_ref(void **state)
{
	struct bench *b = *state;

	sh(b, "cd src; git init -q .; echo 1 > f; echo g > g; git add .; git commit -q -m one; git branch "
	      "old; echo 2 > f; git rm -q g; git commit -q -am two; echo dirty >> f");
	assert_int_equal(bring_from(b, "src", "old", false), 0);
	assert_true(holds(b, "cd guest && test $(cat f) = 1 && test $(cat g) = g && git symbolic-ref HEAD | "
			     "grep -q refs/heads/old && test -z \"$(git status --porcelain)\""));
	assert_int_equal(bring_from(b, "src", "old", false), 0);
	assert_int_equal(b->result.files, 0);
	assert_int_equal(bring_from(b, "src", "none", false), -EINVAL);
	assert_int_equal(bring_from(b, "src", "HEAD", false), 0);
	assert_true(holds(b, "cd guest && test $(cat f) = 2 && test ! -e g"));
}

/* It is written to, and files come and go, while it is brought. */
static void changes_meanwhile(void **state)
{
	struct bench *b = *state;
	pid_t writer;
	int status;

	sh(b, "cd src; git init -q .; for i in $(seq 300); do head -c 20000 /dev/zero > f$i; done; git add "
	      ".; git commit -q -m one");
	writer = fork();
	assert_true(writer >= 0);
	if (writer == 0) {
		char path[80];

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (unsigned i = 0;; i++) {
			int fd;

			snprintf(path, sizeof(path), "%s/src/f%u", b->dir, 1 + i % 300);
			unlink(path);
			fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
			for (int k = 0; k < 3; k++)
				(void)!write(fd, "more", 4);
			close(fd);
		}
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(bring(b, false), 0);
	kill(writer, SIGKILL);
	assert_int_equal(waitpid(writer, &status, 0), writer);
	/* Whatever it was: once it is quiet the two are the same. */
	assert_int_equal(bring(b, false), 0);
	sh(b, SAME);
}

/* The clock there is wrong by years, and goes back: what counts is that something is as it was, not when. */
static void clocks(void **state)
{
	struct bench *b = *state;

	make_and_bring(b, "cd src; echo 1 > f; echo 1 > g");
	sh(b, "cd guest; echo mine > f; touch -d 1999-01-01 f; cd ../src; echo yours > f; echo 2 > g; touch "
	      "-d 2040-01-01 g");
	assert_int_equal(bring(b, false), -EEXIST);
	assert_int_equal(bring(b, true), 0);
	sh(b, SAME);
}

/* A link in the guest leads nowhere. */
static void links_in_the_guest(void **state)
{
	struct bench *b = *state;

	make_and_bring(b, "mkdir -p src/d lib; echo 1 > src/d/f; echo safe > lib/f");
	sh(b, "cd guest; rm -r d; ln -s ../lib d; echo 2 > ../src/d/f");
	assert_int_equal(bring(b, false), -EEXIST);
	assert_int_equal(bring(b, true), 0);
	assert_true(holds(b, "test $(cat lib/f) = safe && test $(cat guest/d/f) = 2 && test ! -L guest/d"));
}

/* What a guest says that doesn't keep to the protocol. */
static void liars(void **state)
{
	static const struct {
		uint32_t type, length;
		uint8_t body[64];
		int code;
	} lies[] = {
		{WORKSPACE_ANSWERS, 4, {99}, -EPROTO},
		{WORKSPACE_ANSWERS, 3, {0}, -EPROTO},
		{WORKSPACE_DONE, 0, {0}, -EPROTO},
		{WORKSPACE_STATES, 32, {0}, -EPROTO},
		{WORKSPACE_HEAD, 9, {0, 0, 0, 0, 'x'}, -EPROTO},
		{0xffffffff, 0, {0}, -EPROTO},
		{WORKSPACE_ANSWERS, 0xffffffff, {0}, -EPROTO},
		{WORKSPACE_FAILED, 12, {28, 0, 0, 0, 'f', 'u', 'l', 'l', 27, '[', '2', 'J'}, -ENOSPC},
		{WORKSPACE_FAILED, 8, {0, 0, 0, 0x80, 'h', 'm', 'm', '!'}, -EIO},
	};
	struct bench *b = *state;

	sh(b, "echo 1 > src/f");
	for (size_t i = 0; i < ELEMENTSOF(lies); i++) {
		uint32_t head[2] = {lies[i].length, lies[i].type};
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		assert_int_equal(io_write_full(pair[1], head, sizeof(head)), 0);
		if (lies[i].length < sizeof(lies[i].body))
			assert_int_equal(io_write_full(pair[1], lies[i].body, lies[i].length), 0);
		shutdown(pair[1], SHUT_WR);
		assert_int_equal(prepare(b, "src", "", false, pair[0]), lies[i].code);
		assert_null(strchr(b->text, 27));
		close(pair[0]);
		close(pair[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(any_folder),
		TEST(no_such_folder),
		TEST(as_it_stands),
		TEST(the_difference),
		TEST(the_guests_work),
		TEST(histories),
		TEST(shapes),
		TEST(pointers),
		TEST(by_ref),
		TEST(changes_meanwhile),
		TEST(clocks),
		TEST(links_in_the_guest),
		TEST(liars),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
