/* Checkouts that somebody else has made, and means ill: no program that they name is run, and nothing outside of them is brought. */
#include "lib/repo_bench.h"

/* A program for each NAME that says when it was run; hooks of all names. */
static void plant(struct bench *b)
{
	sh(b, "mkdir ran plants plants/hooks; for p in fsmonitor sshCommand gitProxy pager editor askPass "
	      "sequence helper gpg "
	      "external textconv command process merge uploadpack packObjects update alias; do "
	      "printf '#!/bin/sh\n: > %s/ran/%s\nexit 1\n' $PWD $p > plants/$p; done; "
	      "for p in clean smudge included wt; do printf '#!/bin/sh\n: > %s/ran/%s\ncat\n' $PWD $p > "
	      "plants/$p; done; "
	      "for h in pre-commit post-commit post-checkout post-merge pre-auto-gc post-index-change "
	      "reference-transaction; do "
	      "printf '#!/bin/sh\n: > %s/ran/hook\n' $PWD > plants/hooks/$h; done; chmod -R 755 plants");
}

/* What git would run for the checkout's configuration. */
static void name_plants(struct bench *b)
{
	sh(b, "cd src; P=$PWD/../plants; c() { git config \"$@\"; }; cp $P/hooks/* .git/hooks/; "
	      "c core.hooksPath $P/hooks; for k in sshCommand gitProxy pager editor askPass; do c core.$k "
	      "$P/$k; done; "
	      "c core.alternateRefsCommand $P/alternateRefs; c sequence.editor $P/sequence; c "
	      "credential.helper $P/helper; "
	      "c gpg.program $P/gpg; c commit.gpgSign true; c log.showSignature true; c diff.external "
	      "$P/external; "
	      "c diff.evil.textconv $P/textconv; c diff.evil.command $P/command; c merge.evil.driver "
	      "$P/merge; "
	      "c filter.evil.clean $P/clean; c filter.evil.smudge $P/smudge; c filter.evil.required true; "
	      "c filter.proc.process $P/process; c filter.proc.required true; "
	      "printf '[filter \"inc\"]\\n\\tclean = %s/included\\n\\tsmudge = %s/included\\n' $P $P > "
	      "$P/inc; c include.path $P/inc; "
	      "c extensions.worktreeConfig true; printf '[filter \"wt\"]\\n\\tclean = %s/wt\\n' $P > "
	      ".git/config.worktree; "
	      "c uploadpack.packObjectsHook $P/packObjects; c remote.origin.uploadpack $P/uploadpack; "
	      "c submodule.sub.update \"!$P/update\"; c alias.status \"!$P/alias\"; c safe.directory '*'; c "
	      "core.fsmonitor $P/fsmonitor");
}

static void no_program_is_run(void **state)
{
	struct bench *b = *state;

	plant(b);
	sh(b, "cd src; git init -q .; printf '*.bin filter=evil diff=evil merge=evil\\n*.proc "
	      "filter=proc\\n*.inc "
	      "filter=inc\\n*.wt filter=wt\\n' > .gitattributes; for s in bin proc inc wt; do echo real > "
	      "a.$s; echo real > b.$s; done; "
	      "echo t > t; git init -q sub; cd sub; echo s > s; git add s; git commit -q -m sub; cd ..; "
	      "printf '[submodule \"sub\"]\\n\\tpath = sub\\n\\turl = ./sub\\n' > .gitmodules; git add . "
	      "2>/dev/null; git commit -q -m one; "
	      "git branch old; echo t1 > t; git commit -q -am two");
	name_plants(b);
	/* Of the same size, and of another; new ones; and one whose times alone are others. */
	sh(b, "cd src; for s in bin proc inc wt; do echo fake > a.$s; touch -d 2001-01-01 b.$s; echo new > "
	      "c.$s; done; echo t2 > t");
	assert_int_equal(bring(b, false), 0);
	assert_int_equal(bring(b, false), 0);
	sh(b, SAME);
	/* The files of a commit are written by git itself, with filters. */
	assert_int_equal(bring_from(b, "src", "old", true), 0);
	assert_true(holds(b, "test $(cat guest/a.bin) = real && test $(cat guest/t) = t"));
	assert_true(holds(b, "test -z \"$(ls ran)\""));
	assert_false(holds(b, "git -C guest config --get-regexp "
			      "'filter|fsmonitor|hooks|external|textconv|pager|command|program|proxy|helper|"
			      "alias|include|pack$'"));
	/* What was planted is what git would have run. */
	assert_false(holds(b, "cd src && git add a.proc"));
	sh(b, "cd src; git config --unset filter.proc.process; git config --unset filter.proc.required");
	assert_false(holds(b, "cd src && git diff HEAD"));
	sh(b, "cd src; git add -A .; git commit -q -m x --no-gpg-sign");
	assert_true(holds(b, "cd ran && ls fsmonitor clean process included wt hook command"));
}

/* Objects that are to be had from elsewhere are not fetched. */
static void nothing_is_fetched(void **state)
{
	struct bench *b = *state;

	plant(b);
	sh(b, "cd src; git init -q .; for i in 1 2 3; do echo $i > f$i; done; git add .; git commit -q -m "
	      "one; "
	      "o=$(git rev-parse HEAD:f2); rm -f .git/objects/$(echo $o | cut -c 1-2)/$(echo $o | cut -c "
	      "3-); "
	      "git config core.repositoryformatversion 1; git config extensions.partialClone origin; "
	      "git config remote.origin.promisor true; git config remote.origin.partialclonefilter "
	      "blob:none; "
	      "git config core.sshCommand $PWD/../plants/sshCommand; git config remote.origin.uploadpack "
	      "$PWD/../plants/uploadpack");
	for (const char *const *url = (const char *const[]){"ssh://localhost/x", "file:///nowhere", "/tmp",
		     "ext::true", "git://localhost/x", NULL};
		*url; url++) {
		_cleanup_free_ char *script = NULL;

		assert_true(asprintf(&script,
				    "git -C src config remote.origin.url %s; git -C src config "
				    "protocol.allow always",
				    *url) > 0);
		sh(b, script);
		assert_true(bring(b, false) < 0);
		assert_true(holds(b, "test -z \"$(ls ran)\""));
	}
	sh(b, "git -C src config remote.origin.url ssh://localhost/x");
	assert_false(holds(b, "git -C src cat-file -p HEAD:f2"));
	assert_true(holds(b, "test -e ran/sshCommand"));
}

/* The user's own repository, beside the checkout; its secret is in its history and in its names. */
static void make_private(struct bench *b)
{
	sh(b, "mkdir private; cd private; git init -q .; echo SECRET > SECRETNAME; git add .; git commit -q "
	      "-m SECRET; "
	      "git config remote.origin.url ssh://host/SECRET; cp SECRETNAME SECRETFILE; cp SECRETNAME "
	      "plain");
}

/* Is any of it in the guest, in whatever form? */
static bool is_secret_kept(struct bench *b)
{
	return holds(b, "test ! -e guest || ! { grep -qra SECRET guest || "
			"{ test -d guest/.git/objects && cd guest && git -c core.alternateRefsCommand= "
			"cat-file --batch-all-objects --batch | grep -qa SECRET; }; }");
}

static void nothing_outside_is_read(void **state)
{
	static const struct {
		const char *script;
		int code; /* 1: whatever it is */
	} plants[] = {
		{"rm -r .git; echo \"gitdir: $PWD/../private/.git\" > .git", -EPERM},
		{"rm -r .git; ln -s ../private/.git .git", -EPERM},
		{"echo $PWD/../private/.git > .git/commondir", -EPERM},
		{"rm -r .git/objects; ln -s $PWD/../private/.git/objects .git/objects; cp "
		 "../private/.git/refs/heads/main .git/refs/heads/",
			-EPERM},
		{"for d in ../private/.git/objects/[0-9a-f][0-9a-f]; do rm -rf .git/objects/${d##*/}; ln -s "
		 "../../$d "
		 ".git/objects/${d##*/}; done; "
		 "cp ../private/.git/refs/heads/main .git/refs/heads/",
			-EPERM},
		{"for f in ../private/.git/objects/[0-9a-f]*/*; do d=${f%/*}; mkdir -p "
		 ".git/objects/${d##*/}; ln "
		 "-sf ../../../$f .git/objects/${d##*/}/; done; "
		 "cp ../private/.git/refs/heads/main .git/refs/heads/",
			-EPERM},
		{"echo $PWD/../private/.git/objects > .git/objects/info/alternates; cp "
		 "../private/.git/refs/heads/main .git/refs/heads/",
			-EPERM},
		/* An alternate inside, whose own is outside. */
		{"mkdir -p alt/info; echo $PWD/alt > .git/objects/info/alternates; echo "
		 "$PWD/../private/.git/objects > alt/info/alternates; "
		 "cp ../private/.git/refs/heads/main .git/refs/heads/",
			-EPERM},
		{"git config core.worktree $PWD/../private", -EINVAL},
		{"echo own > SECRETFILE; git add -f SECRETFILE; git config core.worktree $PWD/..", -EINVAL},
		{"rm .git/index; ln -s $PWD/../private/.git/index .git/index", -EPERM},
		{"rm -f .git/refs/heads/main; ln -s $PWD/../private/.git/refs/heads/main "
		 ".git/refs/heads/main",
			1},
		{"rm .git/HEAD; ln -s $PWD/../private/SECRETFILE .git/HEAD", 1},
		{"ln -s $PWD/../private/SECRETFILE .git/shallow", 1},
		{"rm .git/info/exclude; ln -s $PWD/../private/SECRETFILE .git/info/exclude", 0},
		{"rm -r .git/info; ln -s $PWD/../private .git/info; cp ../private/SECRETFILE "
		 "../private/exclude",
			0},
		{"git config core.excludesFile $PWD/../private/SECRETFILE", 0},
		{"git config include.path $PWD/../private/.git/config", 0},
		{"git config extensions.worktreeConfig true; ln -s $PWD/../private/.git/config "
		 ".git/config.worktree",
			0},
		{"ln -s $PWD/../private/SECRETFILE .gitignore; ln -s $PWD/../private/SECRETFILE "
		 ".gitattributes",
			0},
		{"mkdir sub; echo \"gitdir: $PWD/../private/.git\" > sub/.git", -EPERM},
		{"mkdir sub; ln -s ../../private/.git sub/.git", -EPERM},
		{"ln -s ../private d; echo d/plain > .git/x; git update-index --add --cacheinfo "
		 "100644,$(git rev-parse HEAD:f),d/plain",
			0},
	};
	struct bench *b = *state;

	make_private(b);
	for (size_t i = 0; i < ELEMENTSOF(plants); i++) {
		_cleanup_free_ char *script = NULL;
		int r;

		sh(b, "rm -rf src guest; mkdir src; cd src; git init -q .; echo f > f; git add .; git commit "
		      "-q -m one");
		assert_true(asprintf(&script, "cd src; %s", plants[i].script) > 0);
		sh(b, script);
		prepared_free(b->before);
		b->before = NULL;
		r = bring(b, false);
		if ((plants[i].code != 1 && r != plants[i].code) || !is_secret_kept(b))
			fail_msg("%s: %d %s", plants[i].script, r, b->text);
	}
	/* What is looked for would be found. */
	sh(b, "rm -rf guest; cp -a private guest; rm guest/SECRET*");
	assert_false(is_secret_kept(b));
	sh(b, "rm -rf guest/.git/config guest/.git/index guest/.git/logs guest/.git/COMMIT_EDITMSG; git -C "
	      "guest init -q .");
	assert_false(is_secret_kept(b));
}

/* Where git itself puts a repository elsewhere, it names the folder back. */
static void what_git_puts_elsewhere(void **state)
{
	struct bench *b = *state;

	sh(b, "mkdir lib; cd lib; git init -q .; echo l > l; git add .; git commit -q -m lib; cd ..; mkdir "
	      "other; cd other; git init -q .; "
	      "git -c protocol.file.allow=always submodule -q add $PWD/../lib sub; git commit -q -m other");
	/* A submodule alone. */
	assert_int_equal(bring_from(b, "other/sub", "", false), 0);
	assert_true(holds(b, "test $(cat guest/l) = l && git -C guest log --format=%s | grep -qx lib"));
	/* Its repository is another's. */
	sh(b, "rm -rf guest src; cp -a other/sub src; echo \"gitdir: $PWD/other/.git/modules/sub\" > "
	      "src/.git");
	prepared_free(b->before);
	b->before = NULL;
	assert_int_equal(bring(b, false), -EINVAL);
	/* A worktree of a submodule. */
	sh(b, "rm -rf src; git -C other/sub worktree add -q $PWD/src -b wt");
	assert_int_equal(bring(b, false), 0);
	assert_true(holds(b, "git -C guest symbolic-ref HEAD | grep -q refs/heads/wt"));
	/* Another repository's worktree, copied. */
	sh(b, "mv src private; rm -rf guest; cp -a private src; git -C other/sub worktree repair "
	      "$PWD/private 2>/dev/null");
	prepared_free(b->before);
	b->before = NULL;
	assert_int_equal(bring(b, false), -EPERM);
	/* Where the user has put it elsewhere, and said so there. */
	sh(b, "rm -rf src guest private; mkdir src; git init -q --separate-git-dir=$PWD/private src; cd src; "
	      "echo f > f; git add .; git commit -q -m sep");
	assert_int_equal(bring(b, false), -EPERM);
	assert_non_null(strstr(b->text, "git clone --no-local"));
	sh(b, "git -C private config core.worktree $PWD/src");
	assert_int_equal(bring(b, false), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_program_is_run),
		TEST(nothing_is_fetched),
		TEST(nothing_outside_is_read),
		TEST(what_git_puts_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
