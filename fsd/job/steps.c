#include "job/steps.h"

/* STEP failed with CODE: names it in E; one that failed without a word gets its code's. */
static void name_failure(const struct step *step, int code, struct err *e)
{
	if (!e->code)
		err_sys(e, code, "failed");
	e->code = code;
	err_wrap(e, "%s", step->name);
}

static void undo(const struct step *step, void *ctx, struct err *e)
{
	_cleanup_err_ struct err more = {0};
	int r = step->undo ? step->undo(ctx, &more) : 0;

	if (r < 0)
		err_join(e, "undoing %s: %s", step->name, more.code ? err_text(&more) : strerror(-r));
}

void steps_undo(const struct step *steps, size_t n, void *ctx, struct err *e)
{
	while (n > 0)
		undo(&steps[--n], ctx, e);
}

int steps_run(const struct step *steps, size_t n, void *ctx, struct op *op, struct err *e)
{
	_cleanup_err_ struct err first = {0};

	for (size_t i = 0; i < n; i++) {
		size_t begun = i;
		int r;

		op_stage(op, steps[i].name);
		r = op_check(op, &first);
		if (r == 0) {
			begun = i + 1;
			r = steps[i].run(ctx, &first);
		}
		if (r == 0)
			continue;
		name_failure(&steps[i], r, &first);
		op_error(op, err_text(&first));
		op_stage(op, "undo");
		/* The failing step too: it may have half acquired what it was after. One never begun has nothing. */
		steps_undo(steps, begun, ctx, &first);
		err_move(e, &first);
		return r;
	}
	return 0;
}

int steps_run_all(const struct step *steps, size_t n, void *ctx, struct op *op, struct err *e)
{
	_cleanup_err_ struct err first = {0};
	int code = 0;

	for (size_t i = 0; i < n; i++) {
		_cleanup_err_ struct err one = {0};
		int r;

		op_stage(op, steps[i].name);
		r = steps[i].run(ctx, &one);
		if (r == 0)
			continue;
		name_failure(&steps[i], r, &one);
		if (code == 0) {
			code = r;
			err_move(&first, &one);
		} else {
			err_join(&first, "%s", err_text(&one));
		}
	}
	if (code < 0)
		err_move(e, &first);
	return code;
}
