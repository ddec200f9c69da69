# What is around the relay: an idle server, autovacuum, settings of databases and roles, a reload, signals,
# no preloading, too few worker processes, events that come by logical replication, a standby.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Deliveries;
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Receiver;
use Test::More;
use Time::HiRes ();
use Workers;

my $receiver = Receiver->start('environment');
my $node = relay_node('environment', streaming => 'logical', conf => <<'CONF');
max_worker_processes = 30
autovacuum = off
autovacuum_naptime = 1s
autovacuum_vacuum_threshold = 1
autovacuum_vacuum_scale_factor = 0
CONF

relay_ledger($node, 'ledger', $receiver);
my $progress = "FROM pg_stat_user_tables WHERE relid = 'bank.subscription_progress'::regclass";

# How often a process has gone to sleep.
sub naps
{
	my ($pid) = @_;
	return slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : undef;
}

# The number of lines of the server's log since an offset that match.
sub logged
{
	my ($server, $offset, $pattern) = @_;
	return scalar grep { /$pattern/ } split(/\n/, slurp_file($server->logfile, $offset));
}

# Idle it runs no statement: once what was delivered is recorded, transactions of its database do not grow
# in number while it wakes twice. No other way to see that than to look on for some seconds.
arrives($receiver, '/ledger', 'an event is delivered', deposit($node, 'ledger'));
wait_for_delivery($node, 'ledger', 'hook');
my $pid = relay_status($node, 'ledger')->{pid};
my $transactions = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'ledger'";
my $count = $node->safe_psql('postgres', $transactions);
my ($naps, $since) = (naps($pid), Time::HiRes::time());
my $settled = $since;
$receiver->wait_for(
	sub {
		my $now = $node->safe_psql('postgres', $transactions);

		($count, $naps, $since) = ($now, naps($pid), Time::HiRes::time()) if $now != $count;
		return $since - $settled > 60 || (naps($pid) >= $naps + 2 && Time::HiRes::time() - $since > 4.5);
	},
	90,
	'the relay to come to rest');
cmp_ok($since - $settled, '<=', 5, 'an idle relay runs no transaction');
cmp_ok(naps($pid), '>=', $naps + 2, 'though it wakes now and then');
arrives($receiver, '/ledger', 'and it is awake', deposit($node, 'ledger'));

# What it writes is known to the statistics, and so to autovacuum; it leaves nothing to the indexes.
my $updates = $node->safe_psql('ledger', "SELECT n_tup_upd $progress");
foreach (1 .. 30)
{
	my $id = deposit($node, 'ledger');
	$receiver->wait_for(sub { grep { $_ eq $id } event_ids($receiver, '/ledger') }, 60, 'an event');
}
wait_until($node, 'ledger', 'statistics of what the worker writes',
	"SELECT n_tup_upd >= $updates + 15 AND n_dead_tup > 0 $progress");
pass('the statistics see the updates of bank.subscription_progress, and dead rows');
cmp_ok($node->safe_psql('ledger', "SELECT 100 * n_tup_hot_upd / n_tup_upd $progress"),
	'>=', 80, 'most of them were HOT');
$receiver->rules([ [ '/refuse', '*', 'status:400' ] ]);
subscribe($node, 'ledger', 'refuse', $receiver->url('/refuse'), "max_attempts => 1");
wait_until($node, 'ledger', 'statistics of deliveries',
	"SELECT n_tup_ins >= 10 FROM pg_stat_user_tables WHERE relid = 'bank.deliveries'::regclass");
$node->safe_psql('ledger', "SELECT bank_unsubscribe('refuse')");
my $vacuums = $node->safe_psql('ledger', "SELECT autovacuum_count $progress");
$node->safe_psql('postgres', 'ALTER SYSTEM SET autovacuum = on');
$node->reload;
wait_until($node, 'ledger', 'autovacuum of bank.subscription_progress',
	"SELECT autovacuum_count > $vacuums $progress");
pass('autovacuum comes');
$node->safe_psql('postgres', 'ALTER SYSTEM SET autovacuum = off');
$node->reload;

# Settings of the database and of the role must not matter.
my $offset = -s $node->logfile;
my @hostile = (
	'default_transaction_read_only = on',
	'default_transaction_isolation = serializable',
	'default_transaction_deferrable = on',
	"statement_timeout = '1ms'",
	"lock_timeout = '1ms'",
	"idle_in_transaction_session_timeout = '1ms'",
	'search_path = hostile, pg_catalog',
	'role = nobody',
	"timezone = 'Asia/Kathmandu'",
	"datestyle = 'SQL, DMY'",
	"intervalstyle = 'sql_standard'",
	"bytea_output = 'escape'",
	'row_security = off',
	'session_replication_role = replica',
	'synchronous_commit = off',
	$node->pg_version >= 17 ? "transaction_timeout = '1ms'" : ());
$node->safe_psql('ledger', <<'SQL');
CREATE ROLE nobody;
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT 1/0; SELECT NULL::timestamptz';
CREATE FUNCTION hostile.evil(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT 1/0 = 0';
CREATE OPERATOR hostile.= (FUNCTION = hostile.evil, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR hostile.> (FUNCTION = hostile.evil, LEFTARG = bigint, RIGHTARG = bigint);
SQL
$node->safe_psql('postgres', join(';', map { "ALTER DATABASE ledger SET $_" } @hostile));
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
{
	# our own sessions are not to suffer
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c statement_timeout=60s -c lock_timeout=0'
	  . ' -c idle_in_transaction_session_timeout=0 -c search_path=public -c role=none'
	  . ' -c default_transaction_deferrable=off -c session_replication_role=origin'
	  . ($node->pg_version >= 17 ? ' -c transaction_timeout=0' : '');

	my $other = wait_for_worker($node, 'ledger', $pid);
	arrives($receiver, '/ledger', 'settings of the database do not disturb the worker', deposit($node, 'ledger'));
	$node->safe_psql('postgres', 'ALTER DATABASE ledger RESET ALL');
	$node->safe_psql('postgres', join(';', map { "ALTER ROLE CURRENT_USER SET $_" } grep { !/^role/ } @hostile));
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($other)");
	$pid = wait_for_worker($node, 'ledger', $other);
	arrives($receiver, '/ledger', 'nor do those of its role', deposit($node, 'ledger'));

	# a lock that takes longer than lock_timeout and statement_timeout
	my $session = $node->background_psql('ledger');
	$session->query_safe("BEGIN; SELECT version FROM bank_deposit('" . account_id(1) . "', '1 HTG');
	  LOCK TABLE bank.events, bank.subscription_progress IN ACCESS EXCLUSIVE MODE");
	$node->safe_psql('postgres', "SELECT pg_current_xact_id()");
	wait_until($node, 'postgres', 'the worker to wait for a lock', "SELECT count(*) = 1 FROM pg_stat_activity
	  WHERE pid = $pid AND wait_event_type = 'Lock' AND clock_timestamp() - xact_start > '100 ms'");
	$session->query_safe('COMMIT');
	$session->quit;
	arrives($receiver, '/ledger', 'it waits for a lock', deposit($node, 'ledger'));
	is(relay_status($node, 'ledger')->{pid}, $pid, 'however long');
	$node->safe_psql('postgres', 'ALTER ROLE CURRENT_USER RESET ALL');
}
is(errors_logged($node, $offset), '57P01', 'no errors but that two workers were ended');

# Private addresses forbidden while it delivers to one, over a connection that is open.
$receiver->rules([]);
subscribe($node, 'ledger', 'private', $receiver->url('/private'),
	"retry_delay => '100 ms', retry_max_delay => '200 ms', breaker_timeout => '500 ms'");
subscribe($node, 'ledger', 'named', 'http://localhost:' . $receiver->port . '/named',
	"retry_delay => '100 ms', retry_max_delay => '200 ms', breaker_timeout => '500 ms'");
arrives($receiver, $_, "$_ is served", deposit($node, 'ledger')) foreach '/private', '/named';
wait_for_delivery($node, 'ledger', 'private', 'named');
my $requests = $receiver->requests;
$node->safe_psql('postgres', 'ALTER SYSTEM SET banking.allow_private_endpoints = off');
$node->reload;
wait_until($node, 'postgres', 'the reload', "SELECT current_setting('banking.allow_private_endpoints') = 'off'");
$pid = relay_status($node, 'ledger')->{pid};
my $waiting = deposit($node, 'ledger');
wait_until($node, 'ledger', "an error of $_",
	"SELECT last_error ~ 'private' AND breaker_state <> 'closed' FROM bank_subscriptions WHERE name = '$_'")
  foreach 'private', 'named';
like(subscription($node, 'ledger', 'private')->{last_error},
	qr/127\.0\.0\.1.*banking\.allow_private_endpoints/, 'banking.allow_private_endpoints = off: the error says why');
like(health($node, 'ledger')->{endpoints}, qr/^f .*private \(breaker.*allow_private_endpoints/, 'so does bank_health');
is(outcome($node, 'ledger', "SELECT bank_subscribe('new', '" . $receiver->url('/new') . "')"),
	'BK026', 'no new subscriptions of that kind');
my @sent = map { event_ids($receiver, $_) } '/private', '/named';
is(scalar(grep { $_ eq $waiting } @sent), 0, 'nothing was sent, not over the open connection either');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET banking.allow_private_endpoints');
$node->reload;
arrives($receiver, $_, "allowed again, $_ is served", $waiting) foreach '/private', '/named';
is(relay_status($node, 'ledger')->{pid}, $pid, 'by the same worker: a reload does not end it');
$node->safe_psql('ledger', "SELECT bank_unsubscribe('named')");

my $signals = -s $node->logfile;

# Signals. The launcher comes back some seconds after its end, and knows the workers that are there.
is(outcome($node, 'postgres', "SELECT pg_cancel_backend($pid)"), 'ok', 'the worker is told to cancel');
arrives($receiver, '/ledger', 'it goes on, or another one does', deposit($node, 'ledger'));
$pid = wait_for_worker($node, 'ledger');
my $launcher = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'banking relay launcher'";
my $old = $node->safe_psql('postgres', $launcher);
is($node->safe_psql('postgres', "SELECT pg_terminate_backend($old, 10000)"), 't', 'the launcher is ended');
arrives($receiver, '/ledger', 'workers do not need it', deposit($node, 'ledger'));
is(relay_status($node, 'ledger')->{pid}, $pid, 'they go on');
is($node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 10000)"), 't', 'the worker too is ended');
$waiting = deposit($node, 'ledger');
wait_until($node, 'postgres', 'the launcher', "SELECT EXISTS ($launcher AND pid <> $old)");
pass('the launcher is back');
wait_for_worker($node, 'ledger', $pid);
arrives($receiver, '/ledger', 'and brings the worker back', $waiting);
is(workers($node), 'ledger', 'which is the only one');

# Without preloading everything works but delivery. It is also the subscriber of the logical replication below.
my $subscriber = ledger_node('without', conf => "banking.allow_private_endpoints = on\nautovacuum = off\n");
create_ledger($subscriber, $_) foreach 'ledger', 'copy';
open_accounts($subscriber, 'ledger', 1, 1);
subscribe($subscriber, 'ledger', 'hook', $receiver->url('/late'));
$waiting = deposit($subscriber, 'ledger');
is(relay_status($subscriber, 'ledger')->{state}, 'not preloaded', 'not preloaded: the status says so');
like(health($subscriber, 'ledger')->{relay},
	qr/^f .*shared_preload_libraries/, 'bank_health says what to do');
my (undef, undef, $error) = $subscriber->psql('ledger', 'SELECT bank_relay_start()', extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($error, qr/ERROR:  55000: .*not preloaded\nHINT:  .*shared_preload_libraries/, 'bank_relay_start says so too');
is(outcome($subscriber, 'ledger', 'SELECT bank_relay_stop()'), 'ok', 'bank_relay_stop has nothing to do');
is($subscriber->safe_psql('ledger', 'SELECT event_id FROM bank_feed() ORDER BY position DESC LIMIT 1'),
	$waiting, 'the feed can be read');
is(subscription($subscriber, 'ledger', 'hook')->{lag_events}, 3, 'the lag can be seen');
is($subscriber->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'banking'"),
	0, 'there is no process');

# Preloaded, with too few worker processes: room for the launchers alone.
$subscriber->append_conf('postgresql.conf', "shared_preload_libraries = 'banking'\nmax_worker_processes = 2\n");
$offset = -s $subscriber->logfile;
$subscriber->restart;
is(relay_status($subscriber, 'ledger')->{state}, 'stopped', 'preloaded: it is still stopped, as was said');
$subscriber->safe_psql('ledger', 'SELECT bank_relay_start()');
wait_until($subscriber, 'ledger', 'the lack to be noticed',
	"SELECT state = 'waiting' AND error ~ 'max_worker_processes' FROM bank_relay_status()");
like(health($subscriber, 'ledger')->{relay}, qr/^f .*max_worker_processes/, 'too few worker processes: bank_health says so');
my $message = 'banking relay: could not start a worker for database '
  . $subscriber->safe_psql('ledger', 'SELECT oid FROM pg_database WHERE datname = current_database()');
is(logged($subscriber, $offset, qr/LOG: .*$message/), 1, 'the log says so');
is(logged($subscriber, $offset, qr/HINT: .*Raise max_worker_processes/) > 0, 1, 'and what to do');
$subscriber->append_conf('postgresql.conf', "max_worker_processes = 1\n");
$subscriber->restart;
wait_until($subscriber, 'ledger', 'the lack of a launcher to be noticed',
	"SELECT state = 'no launcher' AND error ~ 'max_worker_processes' FROM bank_relay_status()");
pass('without room for the launcher, the status says so');
like(health($subscriber, 'ledger')->{relay}, qr/^f Nothing is delivered: .*launcher.*max_worker_processes/,
	'without room for the launcher, bank_health says what to do');

# Room for one: the other one gets it when the first does not need it any more.
$subscriber->append_conf('postgresql.conf', "max_worker_processes = 3\n");
$offset = -s $subscriber->logfile;
$subscriber->restart;
wait_until($subscriber, 'postgres', 'one worker and a complaint',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'banking relay'");
my ($first) = workers($subscriber);
my ($second) = grep { $_ ne $first } 'copy', 'ledger';
wait_until($subscriber, $second, 'the complaint', "SELECT error ~ 'max_worker_processes' FROM bank_relay_status()");
$subscriber->safe_psql($first, 'SELECT bank_relay_stop()');
wait_for_worker($subscriber, $second);
is(workers($subscriber), $second, 'a worker that found no room is tried again');
my $oid = $subscriber->safe_psql($second, 'SELECT oid FROM pg_database WHERE datname = current_database()');
is(logged($subscriber, $offset, qr/could not start a worker for database $oid\b/), 1, 'the log tells of that once');
$subscriber->safe_psql($first, 'SELECT bank_relay_start()');
$subscriber->append_conf('postgresql.conf', "max_worker_processes = 30\n");
$subscriber->restart;
arrives($receiver, '/late', 'once preloaded, what waited arrives', $waiting);

# Events that come by logical replication, the first copy of them and later ones.
my $connection = $node->connstr . ' dbname=ledger';
my $publication = 'bank.events, bank.accounts, bank.backdated_movements, bank.idempotency_keys';
$node->safe_psql('ledger', "CREATE PUBLICATION ledger FOR TABLE $publication");
subscribe($subscriber, 'copy', 'hook', $receiver->url('/copy'));
$subscriber->safe_psql('copy', "CREATE SUBSCRIPTION ledger CONNECTION '$connection' PUBLICATION ledger");
my @all = split(/\n/, $node->safe_psql('ledger', 'SELECT event_id FROM bank.events'));
arrives($receiver, '/copy', 'the first copy of a logical replica is delivered from there', @all);
my @times;
foreach (1 .. 15)
{
	my $start = Time::HiRes::time();
	my $id = deposit($node, 'ledger');
	$receiver->wait_for(sub { grep { $_ eq $id } event_ids($receiver, '/copy') }, 60, 'a replicated event');
	push @times, Time::HiRes::time() - $start;
}
@times = sort { $a <=> $b } @times;
note "latency: @times";
cmp_ok($times[7], '<', 0.7, 'what is applied later wakes the worker: it does not wait for its timer');
$subscriber->safe_psql('copy', 'DROP SUBSCRIPTION ledger');

# A standby: no process, and no delivery.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby_environment');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$waiting = deposit($node, 'ledger');
$node->wait_for_catchup($standby);
is(relay_status($standby, 'ledger')->{state}, 'standby', 'a standby: its status says so');
like(health($standby, 'ledger')->{relay}, qr/^t .*primary delivers/, 'which is healthy');
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'banking'"),
	0, 'it has no process');
is(outcome($standby, 'ledger', "SELECT bank_relay_$_()"), '25006', "it refuses bank_relay_$_")
  foreach 'start', 'stop';
is($standby->safe_psql('ledger', "SELECT name FROM bank_subscriptions ORDER BY 1"), "hook\nprivate", 'it shows subscriptions');
is($standby->safe_psql('ledger', 'SELECT event_id FROM bank_feed() ORDER BY position DESC LIMIT 1'),
	$waiting, 'its feed can be read');
arrives($receiver, '/ledger', 'the primary delivers', $waiting);
is(scalar(grep { $_ eq $waiting } event_ids($receiver, '/ledger')), 1, 'it alone');
$standby->stop;

is(errors_logged($node, $signals), '57014 57P01', 'no errors were logged but of processes that were cancelled and ended');
ledger_ok($node, 'ledger', 'in the end');
$subscriber->stop;
$node->stop;
done_testing();
