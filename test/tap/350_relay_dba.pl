# What a DBA does to databases that have a relay: dropping, cloning and renaming them while requests hang,
# stopping and starting the relay in all ways, the extension coming and going, ledgers of other versions,
# databases that nobody may connect to.

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
use Workers;

my $node = relay_node('dba', conf => "max_worker_processes = 30\nautovacuum = off\n");
my $receiver = Receiver->start('dba');

# A command that hangs fails here.
my $promptly = 'SET statement_timeout = 30000';

# The number of lines of the server's log since an offset that match.
sub logged
{
	my ($offset, $pattern) = @_;
	return scalar grep { /$pattern/ } split(/\n/, slurp_file($node->logfile, $offset));
}

# A hundred requests that get no answer.
relay_ledger($node, 'ledger', $receiver);
$receiver->rules([ [ '/hang', '*', 'hang' ] ]);
open_accounts($node, 'ledger', 2, 100);
subscribe($node, 'ledger', 'hang', $receiver->url('/hang'), "concurrency => 100, request_timeout => '5 minutes'");
wait_until($node, 'ledger', 'a hundred requests', 'SELECT requests_in_flight = 100 FROM bank_relay_status()');
my $pid = relay_status($node, 'ledger')->{pid};

# Other databases are dropped all the same: without a ledger, with one that is stopped, with one that runs.
$node->safe_psql('postgres', 'CREATE DATABASE other');
is(outcome($node, 'postgres', "$promptly; DROP DATABASE other"), 'ok', 'another database is dropped');

relay_ledger($node, 'second', $receiver);
is(outcome($node, 'postgres', 'DROP DATABASE second'), '55006', 'one with a worker is in use');
is(workers($node), 'ledger second', 'its worker has not been disturbed');
is(outcome($node, 'second', "$promptly; SELECT bank_relay_stop()"), 'ok', 'its relay is stopped');
is(workers($node), 'ledger', 'its worker is gone at once');
is(outcome($node, 'postgres', "$promptly; DROP DATABASE second"), 'ok', 'then it is dropped');

relay_ledger($node, 'third', $receiver);
my $offset = -s $node->logfile;
my $oid = $node->safe_psql('third', 'SELECT oid FROM pg_database WHERE datname = current_database()');
is(outcome($node, 'postgres', "$promptly; DROP DATABASE third WITH (FORCE)"),
	'ok', 'one with a worker is dropped with FORCE');
is($node->safe_psql('ledger', 'SELECT pid, requests_in_flight FROM bank_relay_status()'),
	"$pid|100", 'all the while the same requests hang');

# The launcher restarts workers in the order of their failures: when one that failed later is back, it has
# dealt with the one of the dropped database.
relay_ledger($node, 'fourth', $receiver);
my $fourth = relay_status($node, 'fourth')->{pid};
$node->safe_psql('postgres', "SELECT pg_terminate_backend($fourth)");
wait_for_worker($node, 'fourth', $fourth);
is(workers($node), 'fourth ledger', 'the launcher has not brought the worker of the dropped database back');
cmp_ok(logged($offset, qr/$oid|third/), '<=', 1, 'and does not fill the log with it')
  or note slurp_file($node->logfile, $offset);
is(logged($offset, qr/could not|PANIC|not exist/), 0, 'nor with errors');

# Cloning and renaming: not while it runs, but when it is stopped, with requests hanging or not.
foreach my $command ('CREATE DATABASE clone TEMPLATE ledger', 'ALTER DATABASE ledger RENAME TO renamed')
{
	my (undef, undef, $error) = $node->psql('postgres', $command);

	like(
		$error,
		qr/ERROR:  .*database "ledger" is being accessed by other users/,
		"not while the worker runs: $command");
}
is($node->safe_psql('ledger', 'SELECT pid FROM bank_relay_status()'), $pid, 'that did not disturb it');
is(outcome($node, 'ledger', "$promptly; SELECT bank_relay_stop()"), 'ok', 'stopped while requests hang');
is(outcome($node, 'postgres', "$promptly; $_"), 'ok', "when it is stopped: $_")
  foreach 'CREATE DATABASE clone TEMPLATE ledger',
  'ALTER DATABASE ledger RENAME TO renamed';
is(relay_status($node, $_)->{state}, 'stopped', "the relay of $_ is stopped") foreach 'clone', 'renamed';
like(health($node, 'clone')->{relay}, qr/^f .*stopped by bank_relay_stop/, 'bank_health says so');

# The clone must not tell anybody of what is done in it. Its first commit shows it to the launcher, and the
# launcher has a worker look: when that has come to the conclusion, nothing was sent.
my @waiting = deposit($node, 'clone');
wait_for_state($node, 'clone', 'stopped');
is(workers($node), 'fourth', 'nobody delivers for it');
is(scalar(grep { $_->{source} eq '/banking/clone' } $receiver->events), 0, 'nothing of the clone was sent');
$node->safe_psql('clone', "SELECT bank_unsubscribe('hang'); SELECT bank_relay_start()");
arrives($receiver, '/ledger', 'once it is started there, what was done in the clone arrives', @waiting);
is((grep { $_->{id} eq $waiting[0] } $receiver->events)[0]{source}, '/banking/clone', 'under its own name');

# The renamed one goes on where it was.
@waiting = deposit($node, 'renamed');
is(relay_state($node, 'renamed'), 'stopped', 'a commit does not start a stopped relay');
$node->safe_psql('renamed', "SELECT bank_unsubscribe('hang'); SELECT bank_relay_start()");
push @waiting, deposit($node, 'renamed');
arrives($receiver, '/ledger', 'after the renaming it is started, and delivers', @waiting);
is(workers($node), 'clone fourth renamed', 'each has its worker');
is(outcome($node, 'clone', 'SELECT bank_relay_stop()'), 'ok', 'stopped');
is(outcome($node, 'postgres', "$promptly; DROP DATABASE clone"), 'ok', 'the clone can go');

# Stopping takes effect when it is done, and is undone when the transaction is.
my $ledger = 'renamed';
my $stop = 'DO $$ BEGIN PERFORM bank_relay_stop(); END $$';
my $count = "SELECT count(*) FROM pg_stat_activity
  WHERE datname = current_database() AND backend_type = 'banking relay'";
my %undone = (
	'a transaction' => "BEGIN; $stop; $count; ROLLBACK",
	'a transaction that starts it again' =>
	  "BEGIN; $stop; $count; DO \$\$ BEGIN PERFORM bank_relay_start(); END \$\$; ROLLBACK",
	'a savepoint' => "BEGIN; SAVEPOINT s; $stop; $count; ROLLBACK TO s; COMMIT",
	'a released savepoint' =>
	  "BEGIN; SAVEPOINT s; SAVEPOINT t; $stop; RELEASE t; $count; ROLLBACK TO s; COMMIT",
	'a block' => "DO \$\$
	  DECLARE workers int;
	  BEGIN
	    BEGIN
	      PERFORM bank_relay_stop();
	      workers := ($count);
	      RAISE division_by_zero;
	    EXCEPTION WHEN division_by_zero THEN NULL;
	    END;
	    PERFORM set_config('test.workers', workers::text, false);
	  END \$\$; SHOW test.workers");
foreach my $way (sort keys %undone)
{
	my $before = wait_for_worker($node, $ledger);

	is(answer($node, $ledger, $undone{$way}), 0, "bank_relay_stop in $way: no worker");
	wait_for_worker($node, $ledger, $before);
	arrives($receiver, '/ledger', "bank_relay_stop in $way that is rolled back: it is back", deposit($node, $ledger));
	is(relay_status($node, $ledger)->{state}, 'running', 'and runs');
}

# What is rolled back after it is not the stop.
is( answer(
		$node, $ledger,
		"BEGIN; SAVEPOINT s; $stop; RELEASE s; SAVEPOINT t; SELECT 'other work'; ROLLBACK TO t; COMMIT;
		  SELECT state FROM bank.relay_status()"
	),
	"other work\nstopped",
	'bank_relay_stop, then a savepoint of something else that is rolled back: it stays stopped');
$node->safe_psql($ledger, 'SELECT bank_relay_start()');

# Not in a transaction whose end nobody here sees.
my $before = wait_for_worker($node, $ledger);
is(outcome($node, $ledger, "BEGIN; SELECT bank_relay_$_(); PREPARE TRANSACTION '$_'"),
	'0A000', "bank_relay_$_ cannot be prepared")
  foreach 'stop', 'start';
arrives($receiver, '/ledger', 'the relay goes on', deposit($node, $ledger));

# What others see of a transaction that is not over.
my $session = $node->background_psql($ledger);
$session->query_safe('BEGIN; SELECT bank_relay_stop()');
is(workers($node), 'fourth', 'stopped in a transaction: the worker is gone');
@waiting = deposit($node, $ledger);
is(relay_state($node, $ledger), 'stopped', 'commits of others do not bring it back');
$session->query_safe('ROLLBACK');
arrives($receiver, '/ledger', 'the rollback does, and what waited arrives', @waiting);

# Two sessions at a time: who comes later has the last word.
my $other = $node->background_psql($ledger);
my $other_pid = $other->query_safe('SELECT pg_backend_pid()');

sub in_two_sessions
{
	my ($first, $end, $second) = @_;

	$session->query_safe("BEGIN; SELECT bank_relay_$first()");
	$other->query_until(qr/sent/, "\\echo sent\nSELECT bank_relay_$second();\n");
	wait_until($node, 'postgres', 'the second session to wait or to be done',
		"SELECT wait_event_type = 'Lock' OR state = 'idle' FROM pg_stat_activity
		  WHERE pid = $other_pid AND query LIKE 'SELECT bank_relay_%'");
	$session->query_safe($end);
	$other->query_safe("SELECT 'done'");
	return;
}

in_two_sessions('stop', 'ROLLBACK', 'stop');
is(relay_state($node, $ledger), 'stopped', 'stop rolled back, another stop: stopped');
is(workers($node), 'fourth', 'there is no worker');
is($node->safe_psql($ledger, 'SELECT count(*) > 0 FROM bank.relay_stopped'), 't', 'and it is remembered');
in_two_sessions('start', 'COMMIT', 'stop');
is(relay_status($node, $ledger)->{state}, 'stopped', 'start committed, then stop: stopped');
is($node->safe_psql($ledger, 'SELECT count(*) > 0 FROM bank.relay_stopped'), 't', 'and it is remembered');
is(workers($node), 'fourth', 'there is no worker');
in_two_sessions('start', 'ROLLBACK', 'stop');
is(relay_status($node, $ledger)->{state}, 'stopped', 'start rolled back, then stop: stopped');
in_two_sessions('stop', 'COMMIT', 'start');
arrives($receiver, '/ledger', 'stop committed, then start: it delivers', deposit($node, $ledger));
in_two_sessions('stop', 'ROLLBACK', 'start');
arrives($receiver, '/ledger', 'stop rolled back, then start: it delivers', deposit($node, $ledger));
$session->quit;
$other->quit;

# Many of them.
my %load = pgbench($node, $ledger, clients => 6, transactions => 10,
	scripts => [ "SELECT bank_relay_stop();\n", "SELECT bank_relay_start();\n",
		"BEGIN;\nSELECT bank_relay_stop();\nROLLBACK;\n", "BEGIN;\nSELECT bank_relay_start();\nROLLBACK;\n" ]);
is("$load{status} $load{stderr}", '0 ', 'many sessions stop and start it');
$node->safe_psql($ledger, 'SELECT bank_relay_start()');
arrives($receiver, '/ledger', 'the last start counts', deposit($node, $ledger));
is(workers($node), "fourth $ledger", 'there is one worker');

# Databases for the restart below: somebody else's schema bank; a ledger nobody may connect to; a template.
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach 'foreign_schema', 'closed', 'template_ledger';
$node->safe_psql('foreign_schema', <<'SQL');
CREATE SCHEMA bank;
CREATE TABLE bank.subscriptions (n int);
CREATE TABLE bank.subscription_progress (n int);
CREATE TABLE bank.relay_stopped (n int);
CREATE TABLE bank.events (position bigint);
INSERT INTO bank.subscriptions VALUES (1);
INSERT INTO bank.events VALUES (1);
SQL
relay_ledger($node, 'locked', $receiver);
relay_ledger($node, 'pattern', $receiver);

# A committed stop outlasts the server.
is(outcome($node, $ledger, 'BEGIN; SELECT bank_relay_stop(); COMMIT'), 'ok', 'stopped in a transaction');
is(workers($node), 'fourth locked pattern', 'it is gone');
$node->safe_psql('postgres', 'ALTER DATABASE locked ALLOW_CONNECTIONS false; ALTER DATABASE pattern IS_TEMPLATE true');
$offset = -s $node->logfile;
$node->restart;
wait_for_worker($node, 'fourth');
wait_for_state($node, $ledger, 'stopped');
@waiting = deposit($node, $ledger);
is(workers($node), 'fourth', 'after a restart it is still stopped; closed databases and templates are left alone');
is(relay_status($node, $ledger)->{state}, 'stopped', 'as its status says');
is(answer($node, $ledger, 'BEGIN; SELECT bank_relay_start(); ROLLBACK; SELECT state FROM bank.relay_status()'),
	"\nstopped", 'bank_relay_start in a transaction that is rolled back does nothing');
is(answer($node, $ledger, 'BEGIN; SELECT bank_relay_start(); SELECT state FROM bank.relay_status(); COMMIT'),
	"\nstopped", 'nor in one that is not over');
arrives($receiver, '/ledger', 'when it commits, what waited arrives', @waiting);

is($node->safe_psql('foreign_schema', 'SELECT n FROM bank.subscriptions; SELECT position FROM bank.events'),
	"1\n1", "somebody else's schema bank is left alone");
is(logged($offset, qr/ERROR|FATAL.*(locked|pattern|foreign)/), 0, 'the log has nothing to say about any of them')
  or note slurp_file($node->logfile, $offset);

# A template is for making databases from, and what is done in it is not delivered.
@waiting = deposit($node, 'pattern');
is(relay_status($node, 'pattern')->{state}, 'starting', 'a template has no worker')
  or diag explain relay_status($node, 'pattern');
is(outcome($node, 'postgres', "$promptly; CREATE DATABASE from_pattern TEMPLATE pattern"),
	'ok', 'databases can be made from it');
$node->safe_psql('postgres', 'ALTER DATABASE pattern IS_TEMPLATE false; ALTER DATABASE locked ALLOW_CONNECTIONS true');
push @waiting, deposit($node, 'pattern');
arrives($receiver, '/pattern', 'one that is no template any more is served', @waiting);
arrives($receiver, '/locked', 'and one that is open again', deposit($node, 'locked'));

# DROP EXTENSION, rolled back and then committed, while a request is under way: its answer comes when the worker
# cannot record it, and it waits without a lock.
my $drop = "SET client_min_messages = warning; SET banking.allow_drop = on; DROP EXTENSION banking CASCADE";
my $worker_of_fourth = "FROM pg_stat_activity WHERE datname = 'fourth' AND backend_type = 'banking relay'";
$before = wait_for_worker($node, 'fourth');
foreach my $end ('ROLLBACK', 'COMMIT')
{
	$receiver->rules([ [ '/hang', '*', 'hang' ], [ '/fourth', '*', 'delay:2000' ] ]);
	@waiting = deposit($node, 'fourth');
	arrives($receiver, '/fourth', "$end: a request is under way", @waiting);
	$session = $node->background_psql('fourth');
	$session->query_safe("BEGIN; $drop");
	my $dropped_at = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	$receiver->wait_for(sub { $receiver->stats->{in_flight} == 0 }, 30, 'the answer');
	wait_until($node, 'postgres', 'the worker to see it', "SELECT max(xact_start) > '$dropped_at' OR max(state_change) > '$dropped_at' $worker_of_fourth");
	is($node->safe_psql('postgres', "SELECT pid, state, wait_event_type = 'Lock' $worker_of_fourth"),
		"$before|idle|f", "$end: an extension that is being dropped keeps its worker, which waits for no lock");
	$session->query_safe($end);
	$session->quit;
	$receiver->rules([ [ '/hang', '*', 'hang' ] ]);
	next if $end eq 'COMMIT';
	arrives($receiver, '/fourth', 'DROP EXTENSION rolled back: it delivers', deposit($node, 'fourth'));
	is(relay_status($node, 'fourth')->{pid}, $before, 'it is the same worker');
	is(scalar(grep { $_ eq $waiting[0] } event_ids($receiver, '/fourth')), 1, 'nothing is sent again');
}

# Committed, it has its worker end.
wait_until($node, 'postgres', 'its worker to end', "SELECT count(*) = 0 $worker_of_fourth");
pass('its worker ends');
is(outcome($node, 'postgres', "$promptly; CREATE DATABASE fifth TEMPLATE fourth"),
	'ok', 'the database can be cloned, as any other');
is(answer($node, 'fourth', 'BEGIN; CREATE EXTENSION banking; ROLLBACK; SELECT count(*) FROM pg_namespace WHERE nspname = $$bank$$'),
	0, 'CREATE EXTENSION rolled back');
unlike(workers($node), qr/fourth/, 'no worker comes for it');
foreach my $database ('fourth', 'fifth', 'foreign_schema', 'made_later')
{
	$node->safe_psql('postgres', 'CREATE DATABASE made_later') if $database eq 'made_later';
	$node->safe_psql($database, 'DROP SCHEMA bank CASCADE') if $database eq 'foreign_schema';
	$node->safe_psql($database, 'CREATE EXTENSION banking');
	wait_for_worker($node, $database);
	open_accounts($node, $database, 1, 1);
	subscribe($node, $database, 'hook', $receiver->url("/new/$database"));
	arrives($receiver, "/new/$database", "CREATE EXTENSION in $database: it delivers", deposit($node, $database));
}
is(workers($node), 'fifth foreign_schema fourth locked made_later pattern renamed', 'each database has one worker');

# Dropped and made again in one transaction; and where the old one was stopped.
is(outcome($node, 'fourth', "BEGIN; $drop; CREATE EXTENSION banking; COMMIT"), 'ok', 'dropped and made at once');
open_accounts($node, 'fourth', 1, 1);
subscribe($node, 'fourth', 'again', $receiver->url('/again/fourth'));
arrives($receiver, '/again/fourth', 'the new one delivers', deposit($node, 'fourth'));
is(scalar(grep { /again/ } map { $_->{path} } $receiver->requests('/new/fourth')), 0, 'to its own subscribers');
is(outcome($node, 'fifth', "SELECT bank_relay_stop(); $drop; CREATE EXTENSION banking"),
	'ok', 'stopped, dropped and made again');
open_accounts($node, 'fifth', 1, 1);
subscribe($node, 'fifth', 'again', $receiver->url('/again/fifth'));
arrives($receiver, '/again/fifth', 'the new one has not been stopped', deposit($node, 'fifth'));

# Of another version than the library.
my $progress = 'SELECT p.xmin, p.ctid, p.* FROM bank.subscription_progress AS p';
$before = relay_status($node, 'pattern')->{pid};
my $version = $node->safe_psql('pattern',
	"UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'banking' RETURNING
	  (SELECT default_version FROM pg_available_extensions WHERE name = 'banking')");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($before)");
wait_until($node, 'pattern', 'the version to be noticed',
	"SELECT error LIKE 'extension version 0.0.1, library version $version: ALTER EXTENSION banking UPDATE%'
	  FROM bank_relay_status()");
unlike(workers($node), qr/pattern/, 'an extension of another version has no worker');
isnt(relay_status($node, 'pattern')->{state}, 'running', 'its status says that it does not run');
like(health($node, 'pattern')->{relay}, qr/^f .*extension version 0\.0\.1/, 'and its health, why');
my $as_it_was = $node->safe_psql('pattern', $progress);
@waiting = deposit($node, 'pattern');
unlike(workers($node), qr/pattern/, 'a commit changes nothing about that');
is($node->safe_psql('pattern', $progress), $as_it_was, 'nothing was written');
is(scalar(grep { $_ eq $waiting[0] } event_ids($receiver, '/pattern')), 0, 'nor sent');
$node->safe_psql('pattern', "UPDATE pg_extension SET extversion = '$version' WHERE extname = 'banking'");
$node->safe_psql('pattern', 'SELECT bank.relay_note_created()');
arrives($receiver, '/pattern', 'of the right version again it delivers', @waiting);

is(errors_logged($node, $offset), '57P01', 'no errors were logged but that of the worker that was ended');
ledger_ok($node, $_, "in the end, $_") foreach $ledger, 'fourth', 'pattern';

$node->stop;
done_testing();
