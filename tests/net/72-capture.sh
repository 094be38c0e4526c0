#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the processes of a cgroup dial, captured by a real daemon: to the proxy, or straight to a node. Others are left
# alone, nobody comes past a proxy that is dead, and it all goes on while the daemon does not.
. tests/net/lib.sh
need ip nsenter jq curl wg python3
need_file "$BUILD/baileyd" 'run make'
cgroups=$(sed -n 's/^[^ ]* \([^ ]*\) cgroup2 .*/\1/p' /proc/mounts | head -n 1)
[ -n "$cgroups" ] || skip_all 'needs a cgroup2 file system'

dir=$TMP
prefix=$T
host_of() { case $1 in web) echo 2 ;; db) echo 3 ;; esac; }
netns_of() { echo "/var/run/netns/$(ns "$1")"; }
# shellcheck source=tests/net/nodes-lib.sh
. tests/net/nodes-lib.sh
ifname_of() { echo "by$U-$(host_of "$1")"; }
service=10.77.0.5

load wireguard tun sch_ingress cls_bpf veth
ns_add web db box
veth web eth0 "$(underlay_of web)/24" db eth0 "$(underlay_of db)/24"
set_up web lo $service/32 # the real service: who reaches it came past
box_add() { # a container of web's machine
	veth box eth0 10.55.0.2/24 web p-box 10.55.0.1/24
	in_ns box ip route add default via 10.55.0.1
}
box_add

# --- cgroups -------------------------------------------------------------------------------------------------------------
top=$cgroups/by-$T
mkdir "$top" || skip_all 'no cgroup can be made'
at_end "for i in 1 2 3 4 5 6 7 8 9; do rmdir $top/app/inner $top/app $top/proxy $top; [ -e $top ] || break; sleep 0.2; done"
mkdir "$top/app" "$top/app/inner" "$top/proxy"
# in_cgroup NAME COMMAND...: a process of its own there, in the namespace of web
in_cgroup() {
	cg_name=$1
	shift
	# shellcheck disable=SC2016 # the inner shell's
	sh -c 'echo $$ >"$0/cgroup.procs" && exec nsenter --net="$@"' "$top/$cg_name" "$(netns_of web)" "$@"
}

# said ADDRESS PORT: what the other end says first, or why there is none
cat >"$dir/said.py" <<-'END'
	import socket, sys
	try:
	    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)
	    print(s.recv(64).decode().strip(), s.getpeername()[0])
	except OSError as e:
	    print(type(e).__name__)
END
said() {
	sd_group=$1
	shift
	in_cgroup "$sd_group" python3 "$dir/said.py" "$@"
}
said_box() { in_ns box python3 "$dir/said.py" "$@"; }
said_outside() { in_ns web python3 "$dir/said.py" "$@"; }

# --- nodes ---------------------------------------------------------------------------------------------------------------
make_root || exit 1
make_identity web web
make_identity db db
for n in web db; do
	write_config $n "$PWD/policy/examples/three-tier.yaml" 3600 "$([ $n = web ] && echo db || echo web)"
done
cp "$dir/web.yaml" "$dir/plain.yaml"
cat >>"$dir/web.yaml" <<-END
	capture:
	  cgroups: [$top/app]
	  proxy_cgroup: $top/proxy
	  devices: [p-box]
	  to:
	    - { net: 10.77.0.0/16, ports: [tcp/80], via: '127.0.0.1:15001' }
	    - { net: 10.88.0.1, ports: [tcp/5432], peer: $(overlay_of db) }
END
for n in web db; do
	at_end "take_down $n"
	start_node $n
done
proxy_start() {
	# no shell function here: $! is then the proxy itself
	# shellcheck disable=SC2016
	sh -c 'echo $$ >"$0/proxy/cgroup.procs" && exec nsenter --net="$1" python3 tests/net/origin_proxy.py 15001' "$top" \
		"$(netns_of web)" &
	proxy=$!
	at_end "kill $proxy"
}
proxy_start
cat >"$dir/service.py" <<-END
	import socket
	s = socket.create_server(("$service", 80))
	while True:
	    c = s.accept()[0]; c.sendall(b"service\n"); c.close()
END
spawn web python3 "$dir/service.py"
spawn db "$talk" echo 5432
check 'the nodes know each other' wait_until 30 knows web 1
captured() { [ "$(said app $service 80)" = "$service:80 $service" ]; }
check 'an application comes to the proxy, which knows where it meant to go' eventually 10 captured
is 'and a process of a cgroup in it' "$(said app/inner $service 80)" "$service:80 $service"

from_box() { [ "$(said_box $service 80)" = "$service:80 $service" ]; }
check 'a container comes to the proxy, too' eventually 5 from_box

# --- attacks -------------------------------------------------------------------------------------------------------------
is 'a process outside is not captured' "$(said_outside $service 80)" "service $service"
is 'nor the proxy, which would come to itself for ever' "$(said proxy $service 80)" "service $service"
is 'who dials the proxy itself has no origin' "$(said app 127.0.0.1 15001)" 'none 127.0.0.1'
is 'another port stays what it is' "$(said app $service 81)" ConnectionRefusedError
kill "$proxy"
wait "$proxy" 2>/dev/null
is 'without the proxy it is refused, though the service is there' "$(said app $service 80)" ConnectionRefusedError
is 'which others still reach' "$(said_outside $service 80)" "service $service"
like 'and to a container it is as if nobody were there' "$(said_box $service 80)" T*meout*
proxy_start
check 'with the proxy it goes on' eventually 10 captured
check 'for the container' eventually 5 from_box
is 'of a container, too, other ports stay what they are' "$(said_box $service 81)" ConnectionRefusedError
in_ns web sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
check_not 'what is no proxy to give to, a container does not reach' in_ns box timeout 2 "$talk" ask tcp 10.88.0.1 5432

# --- straight to a node --------------------------------------------------------------------------------------------------
check 'a captured address leads to an attested node' eventually 10 in_cgroup app "$talk" ask tcp 10.88.0.1 5432
check_not 'which it is not outside' in_ns web "$talk" ask tcp 10.88.0.1 5432
flow_to_db() { "$bailey" flows --instance "$prefix-web" --json | jq -e "select(.dst.addr == \"$(overlay_of db)\" and .interface == \"$(ifname_of web)\")" >/dev/null; }
check 'and is judged by the policy like any flow' flow_to_db

# --- what people see -----------------------------------------------------------------------------------------------------
in_cgroup app python3 -c "import socket, time; s = socket.create_connection(('$service', 80)); time.sleep(4)" &
holder=$!
shown() { "$bailey" flows --instance "$prefix-web" | grep -q "$service 80 tcp .*captured, to the proxy"; }
check 'a captured connection is among the flows' eventually 3 shown
wait "$holder"
check 'and no more when it has ended' eventually 3 sh -c "! '$bailey' flows --instance '$prefix-web' | grep -q captured"
like 'status tells' "$(status_of web | jq -c .capture)" '{"cgroups":1,"devices":1,"networks":2,"connections":*"tcp":*}'
check 'for people, too' sh -c "'$bailey' status --instance '$prefix-web' | grep -q '^capture   1 cgroups, 1 devices, 2 networks'"
check 'and metrics' sh -c "'$bailey' metrics --instance '$prefix-web' | grep -q '^bailey_captured_total{what=\"asked\"} [1-9]'"

# --- life ----------------------------------------------------------------------------------------------------------------
for role in net edge; do
	kill -9 "$(pgrep -P "$(cat "$dir/web.pid")" -f -- "--role=$role" | head -n 1)"
done
end_pid "$dir/web.pid" -9
check 'the daemon is killed, and capture goes on' captured
check 'of containers, too' from_box
start_node web
check 'it starts again' wait_until 30 knows web 1
check 'with what was there' captured
rmdir "$top/app/inner" "$top/app"
mkdir "$top/app" "$top/app/inner"
check 'a cgroup that was made anew is captured' eventually 5 captured
in_ns web ip link del p-box
box_add
check 'and so is a device' eventually 5 from_box
end_pid "$dir/web.pid"
sed -i "s|^\( *cgroups: \[\).*|\1$top/nobody]|" "$dir/web.yaml"
check_not 'a cgroup that is not there ends the daemon' in_ns web timeout 20 "$baileyd" -c "$dir/web.yaml"
like 'which says so' "$(in_ns web timeout 20 "$baileyd" -c "$dir/web.yaml" 2>&1)" "*$top/nobody: no such cgroup*"
check 'and what was set goes on' captured
cp "$dir/plain.yaml" "$dir/web.yaml"
start_node web
check 'a daemon that captures nothing' wait_until 30 knows web 1
is 'leaves nothing captured' "$(said app $service 80)" "service $service"
is 'of a container neither' "$(said_box $service 80)" "service $service"
is 'nor routed' "$(in_ns web ip rule | grep -c 0xba110001)" 0
check_not 'nor pinned' test -e "$(pins_of web)/divert"
done_testing
