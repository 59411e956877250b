# shellcheck shell=bash
# A guest with an sshd, the peer of benches: sshd_template before case_begin, sshd_up after up.

sshd_template()
{
	[ -z "${CASE_INSIDE:-}" ] || return 0
	export BANGER_TEMPLATE=${BANGER_TEMPLATE:-}-debian
	[ -f "$BANGER_TEMPLATE.skip" ] && skip mirror "apt can't reach its archive: $(cat "$BANGER_TEMPLATE.skip")"
}

# The VM box, started; OPTIONS are ssh's, TO its address.
sshd_up()
{
	mkdir "$FS/vms/box"
	echo debian >"$FS/vms/box/image"
	echo 512M >"$FS/vms/box/memory"
	echo start >"$FS/vms/box/ctl" || { fail "start"; case_logs; exit 1; }
	eventually "sshd listens" banger vm exec box -- systemctl is-active ssh
	cat >"$CASE_DIR/ssh" <<-END
		Host *
			User root
			IdentityFile $(ls "$STATE"/ssh/id_* | grep -v pub | head -n 1)
			IdentitiesOnly yes
			StrictHostKeyChecking no
			UserKnownHostsFile /dev/null
			LogLevel ERROR
	END
	options=(-F "$CASE_DIR/ssh")
	to=$(cat "$FS/vms/box/ip")
	ssh "${options[@]}" "$to" true || fail "ssh"
}
