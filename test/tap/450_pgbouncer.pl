# Behind PgBouncer in transaction mode: fifty clients on five server connections use every command under
# many identities. Each event has the right actor, no customer sees or moves what is another's, and what one
# client leaves on a server connection makes no other one somebody else; but for what docs/security.md says.
#
# Each load lasts BANKING_TEST_SECONDS (default 10).

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IO::Select;
use JSON::PP ();
use Ledger;
use List::Util qw(max sum0);
use Pgbouncer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;
use Time::HiRes qw(time);

my $missing = Pgbouncer::missing();
plan skip_all => $missing if $missing;

my $seconds = test_seconds();
my $json = JSON::PP->new->canonical;
my $owners = 12;
my @mapped = qw(alice bob carol dave erin frank);
my @staff = qw(jean marie odile);
my $node = ledger_node('pgbouncer',
	conf => "banking.trusted_authenticators = 'authenticator'\ndeadlock_timeout = 20ms\n");

sub owner { return sprintf('00000000-0000-4000-9000-%012d', $_[0]); }
sub any { return $_[ rand @_ ]; }

# The accounts of owner n are 2n - 1 and 2n.
create_ledger($node, 'bank');
$node->safe_psql('bank', <<"SQL");
CREATE ROLE customers;
CREATE ROLE tellers;
CREATE ROLE auditors;
SELECT bank_grant('customers', 'customer'), bank_grant('tellers', 'teller'), bank_grant('auditors', 'auditor');
CREATE ROLE authenticator LOGIN NOINHERIT IN ROLE customers, tellers, auditors;
@{[ map { "CREATE ROLE $_ LOGIN IN ROLE customers;" } @mapped ]}
@{[ map { "CREATE ROLE $_ LOGIN IN ROLE tellers;" } @staff, 'walter' ]}
CREATE ROLE audrey LOGIN IN ROLE auditors;
@{[ map { "SELECT bank_map_owner('$mapped[$_]', '" . owner($_ + 1) . "');" } 0 .. $#mapped ]}
SELECT bank_add_participant('north', 'https://north.example/');
SELECT bank_pause_participant('north');
SQL
foreach my $n (1 .. $owners)
{
	foreach my $account (2 * $n - 1, 2 * $n)
	{
		$node->safe_psql('bank',
			"SELECT bank_create_account('${\owner($n)}', 'COURANT', 'HTG', account_id => '${\account_id($account)}');"
			  . " SELECT bank_deposit('${\account_id($account)}', '100000 HTG')");
	}
}

my @logins = ('authenticator', @mapped, @staff, 'walter', 'audrey');
my $five = Pgbouncer->start($node, 'bank', users => \@logins, settings => { server_lifetime => 1 });

# Who a client can be. profile; user, who logs in; role and claims, to be set in each transaction; owner; actor,
# what events must say, but for the application.
sub identity
{
	my (%who) = @_;

	$who{current} = $who{role} // $who{user};
	$who{actor} = {
		session_user => $who{user},
		defined $who{subject} ? (subject => $who{subject}) : (),
		defined $who{owner} ? (owner_id => $who{owner}) : ()
	};
	$who{claims} = $json->encode({ role => $who{role}, defined $who{subject} ? (sub => $who{subject}) : () })
	  if defined $who{role};
	return \%who;
}

my @by_token = (
	(map { identity(profile => 'customer', user => 'authenticator', role => 'customers', subject => owner($_),
				n => $_, owner => owner($_)) } 1 .. $owners),
	(map { identity(profile => 'teller', user => 'authenticator', role => 'tellers', subject => "$_\@bank") }
		  map { ($_) x 3 } @staff),
	identity(profile => 'auditor', user => 'authenticator', role => 'auditors', subject => 'audrey@bank'),
	identity(profile => 'nobody', user => 'authenticator', role => 'customers'),
	identity(profile => 'nobody', user => 'authenticator', role => 'customers', subject => 'alice'));
my @by_login = (
	(map { identity(profile => 'customer', user => $mapped[$_], n => $_ + 1, owner => owner($_ + 1)) } 0 .. $#mapped),
	(map { identity(profile => 'teller', user => $_) } @staff),
	identity(profile => 'auditor', user => 'audrey'));

# Steps of a transaction: a statement with $1, $2, ..., their values (a function gives one when it is sent), and
# what is to come of it: error => a code, row => the first row, check => a function of the rows. nonce: what a
# commit must leave behind.
sub step
{
	my ($sql, $values, %more) = @_;
	return { sql => $sql, values => $values // [], %more };
}

# What goes on in spite of an error.
sub refused
{
	my ($code, $sql, @values) = @_;
	return (step('SAVEPOINT one'), step($sql, \@values, error => $code), step('ROLLBACK TO one'));
}

# A command with metadata that say who gives it, as its last value.
my $nonces = 0;

sub command
{
	my ($client, $sql, $values, %more) = @_;
	my $nonce = 'nonce ' . ++$nonces;
	my $metadata = $json->encode({
		nonce => $nonce,
		defined $more{key} ? (key => $more{key}) : (),
		actor => { %{ $client->{who}->{actor} }, application_name => $client->{application} }
	});

	return step($sql, [ @$values, $metadata ], nonce => $nonce, %more);
}

# The same in JSON, for bank_execute.
sub json_command
{
	my ($client, %members) = @_;
	my $step = command($client, '', []);

	$members{metadata} = $json->decode($step->{values}->[0]);
	return ($json->encode(\%members), $step->{nonce});
}

sub amount { return sprintf('%.2f HTG', (1 + int(rand 100)) / 100); }
sub some_account { return account_id(1 + int(rand 2 * $owners)); }

# An account of a customer, and one of somebody else.
sub own { my ($client) = @_; return account_id(2 * $client->{who}->{n} - int(rand 2)); }

sub foreign
{
	my ($client) = @_;
	my $n = $client->{who}->{n} // 0;
	return account_id(2 * any(grep { $_ != $n } 1 .. $owners) - int(rand 2));
}

# A hold, and then what becomes of it. Commands with the right arguments for both, tellers and customers.
sub hold_and
{
	my ($client, $from, $sql, @values) = @_;
	my $hold;

	return (
		command($client, 'SELECT event_id FROM bank_hold($1, $2, metadata => $3)', [ $from, '2 HTG' ],
			check => sub { $hold = $_[0]->[0]; return 1; }),
		command($client, $sql, [ sub { $hold }, @values ]));
}

sub send_and_cancel
{
	my ($client, $from) = @_;
	my $transfer;

	return (
		command($client, q{SELECT bank_send($1, $2, 'north', 'there', metadata => $3)}, [ $from, amount() ],
			check => sub { $transfer = $_[0]->[0]; return 1; }),
		command($client, 'SELECT state FROM bank_cancel_transfer($1, metadata => $2)', [ sub { $transfer } ],
			row => 'rejected'),
		step('SELECT state FROM bank_transfer_status($1)', [ sub { $transfer } ], row => 'rejected'));
}

# The same key again and again, from whatever client: one event.
sub keyed
{
	my ($client, $sql, @values) = @_;
	my $step = command($client, $sql, \@values, key => $values[-1]);

	$step->{check} = sub { $_[0]->[0] eq 'f' or $step->{replayed} = 1; return 1; };
	return $step;
}

# What each profile does: a list for each piece of work. Every client takes them in turn.
my $transfer = 'SELECT bank_transfer($1, $2, $3, metadata => $4)';
my %work = (
	customer => {
		transfer => sub { command($_[0], $transfer, [ own($_[0]), foreign($_[0]), amount() ]) },
		capture => sub {
			hold_and($_[0], own($_[0]), 'SELECT bank_capture($1, to_account => $2, amount => $3, metadata => $4)',
				foreign($_[0]), '0.50 HTG');
		},
		release => sub { hold_and($_[0], own($_[0]), 'SELECT bank_release($1, metadata => $2)') },
		send => sub { send_and_cancel($_[0], own($_[0])) },
		create_account => sub {
			command($_[0], q{SELECT owner_id FROM bank_create_account($1, 'EPARGNE', 'HTG', metadata => $2)},
				[ $_[0]->{who}->{owner} ], row => $_[0]->{who}->{owner});
		},
		keyed => sub {
			my $n = 2 * $_[0]->{who}->{n};
			my $key = int(rand 20);
			keyed($_[0],
				'SELECT replayed FROM bank_transfer($1, $2, $3, idempotency_key => $4, metadata => $5)',
				account_id($n), account_id($n - 1), '0.01 HTG', "transfer $key");
		},
		wrong_owner => sub {
			my ($client) = @_;
			return (
				refused('BK001', $transfer, foreign($client), own($client), '1 HTG', '{}'),
				refused('BK001', 'SELECT bank_hold($1, $2)', foreign($client), '1 HTG'),
				refused('BK001', q{SELECT bank_send($1, $2, 'north', 'there')}, foreign($client), '1 HTG'),
				refused('BK001', 'SELECT bank_balance($1)', foreign($client)));
		},
		staffs_work => sub {
			refused('42501', 'SELECT bank_deposit($1, $2)', own($_[0]), '1 HTG'),
			refused('42501', 'SELECT count(*) FROM bank_events');
		},
		query => sub {
			my ($client) = @_;
			my ($own, $foreign) = (own($client), foreign($client));
			return (
				step('SELECT owner_id FROM bank_account($1)', [$own], row => $client->{who}->{owner}),
				step('SELECT available > 0 FROM bank_balance($1)', [$own], row => 't'),
				step('SELECT balance > 0 FROM bank_balance_at($1, now())', [$own], row => 't'),
				step('SELECT count(*) > 0 FROM bank_transactions($1, page_size => 5)', [$own], row => 't'),
				step('SELECT count(*) > 0 FROM bank_statement($1, current_date, current_date)', [$own], row => 't'),
				step('SELECT bank_account_exists($1), bank_account_exists($2)', [ $own, $foreign ], row => 't|f'),
				step('SELECT count(*) FROM bank_accounts_of($1)',
					[ any(grep { $_ ne $client->{who}->{owner} } map { owner($_) } 1 .. $owners) ], row => 0),
				step('SELECT count(*) FROM bank_holds WHERE account_id NOT IN (SELECT account_id FROM bank_accounts)',
					[], row => 0),
				step('SELECT count(*) FROM bank_transfers WHERE account_id NOT IN (SELECT account_id FROM bank_accounts)',
					[], row => 0));
		}
	},
	teller => {
		create_and_close => sub {
			my ($client) = @_;
			my $id;
			return (
				command($client, q{SELECT account_id FROM bank_create_account($1, 'COURANT', 'HTG', metadata => $2)},
					[ owner(99) ], check => sub { $id = $_[0]->[0]; return 1; }),
				command($client, 'SELECT bank_close($1, metadata => $2)', [ sub { $id } ]));
		},
		house_account => sub {
			command($_[0], 'SELECT house_account FROM bank_create_house_account($1, $2, metadata => $3)',
				[ 'till_' . ++$nonces, 'HTG' ]);
		},
		deposit => sub { command($_[0], 'SELECT bank_deposit($1, $2, metadata => $3)', [ some_account(), amount() ]) },
		withdraw => sub { command($_[0], 'SELECT bank_withdraw($1, $2, metadata => $3)', [ some_account(), amount() ]) },
		transfer => sub { command($_[0], $transfer, [ account_id(1 + int(rand $owners)), account_id(1 + $owners), '1 HTG' ]) },
		capture => sub { hold_and($_[0], some_account(), 'SELECT bank_capture($1, metadata => $2)') },
		release => sub { hold_and($_[0], some_account(), 'SELECT bank_release($1, metadata => $2)') },
		freeze => sub {
			my ($client) = @_;
			my $id = some_account();
			return map { command($client, "SELECT bank_$_(\$1, metadata => \$2)", [$id]) } qw(freeze unfreeze);
		},
		set_limits => sub {
			command($_[0], 'SELECT bank_set_limits($1, overdraft_limit => $2, metadata => $3)',
				[ some_account(), amount() ]);
		},
		execute => sub {
			my ($command, $nonce) = json_command($_[0], command => 'deposit', account_id => some_account(), amount => amount());
			step(q{SELECT bank_execute($1) ->> 'ok'}, [$command], row => 'true', nonce => $nonce);
		},
		execute_batch => sub {
			my ($client) = @_;
			my @two = map { [ json_command($client, command => $_, account_id => some_account(), amount => amount()) ] }
			  qw(deposit withdraw);
			return (
				step(q{SELECT bool_and((r ->> 'ok')::boolean) FROM unnest(bank_execute_batch(ARRAY[$1, $2]::jsonb[])) AS r},
					[ map { $_->[0] } @two ], row => 't', nonce => $two[0]->[1]),
				step('SELECT 1', [], nonce => $two[1]->[1]));
		},
		post_transfers => sub {
			my ($client) = @_;
			my $other = command($client, 'SELECT 1', []);
			return (
				command($client,
					'SELECT bool_and(ok) FROM bank_post_transfers(ARRAY[$1, $2]::uuid[], ARRAY[$2, $1]::uuid[],'
					  . q{ ARRAY['1 HTG', '2 HTG']::bank_money[], metadata => ARRAY[$3, $4]::jsonb[])},
					[ account_id(1), account_id(2), $other->{values}->[0] ], row => 't'),
				step('SELECT 1', [], nonce => $other->{nonce}));
		},
		send => sub { send_and_cancel($_[0], some_account()) },
		receive => sub {
			my ($client) = @_;
			my $id = account_id(1_000_000 + ++$nonces);
			return (
				command($client, q{SELECT state FROM bank_receive($1, $2, $3, participant => 'north', metadata => $4)},
					[ $id, some_account(), '1 HTG' ], row => 'received'),
				command($client, q{SELECT state FROM bank_cancel_received($1, participant => 'north', metadata => $2)}, [$id],
					row => 'cancelled'));
		},
		resolve => sub { refused('BK030', q{SELECT bank_resolve_transfer($1, 'completed')}, account_id(999)) },
		expire => sub { step('SELECT bank_expire_holds()') },
		keyed => sub {
			my $key = int(rand 20);
			keyed($_[0], 'SELECT replayed FROM bank_deposit($1, $2, idempotency_key => $3, metadata => $4)',
				account_id(1 + $key), '0.01 HTG', "deposit $key");
		},
		query => sub {
			my $id = some_account();
			return (
				step('SELECT count(*) > 0 FROM bank_account_events($1)', [$id], row => 't'),
				step('SELECT account_id FROM bank_account($1)', [$id], row => $id),
				step('SELECT count(*) > 0 FROM bank_events WHERE aggregate_id = $1', [$id], row => 't'));
		},
		auditors_work => sub { refused('42501', 'SELECT count(*) FROM bank_trial_balance') }
	},
	auditor => {
		balance => sub { step('SELECT count(*) FROM bank_trial_balance WHERE debits <> credits', [], row => 0) },
		feed => sub { step('SELECT count(*) > 0 FROM bank_feed(max_events => 50)', [], row => 't') },
		events => sub { step('SELECT count(*) FROM bank_events WHERE position < 50 AND actor IS NULL', [], row => 0) },
		no_command => sub { refused('42501', 'SELECT bank_deposit($1, $2)', some_account(), '1 HTG') }
	},
	nobody => {
		nothing => sub {
			refused('BK001', $transfer, some_account(), some_account(), '1 HTG', '{}'),
			refused('BK001', 'SELECT bank_balance($1)', some_account());
		}
	});

# What becomes of the pieces of work: "profile name" => number.
my %turn;

# All work of some profiles.
sub all_work { return map { my $p = $_; map { "$p $_" } sort keys %{ $work{$p} } } @_; }

# The steps of a client's next transaction.
sub transaction
{
	my ($client) = @_;
	my $who = $client->{who} = any(@{ $client->{identities} });
	my @names = sort keys %{ $work{ $who->{profile} } };
	my @chosen = map { $names[ $turn{ $who->{profile} }++ % @names ] } 1 .. 1 + int(rand 2);
	my $own = join('|', map { $_ // '' } @$who{qw(user current owner)}, $client->{application});
	my %sees = (customer => qr/^0\|[1-9]/, nobody => qr/^0\|0$/, teller => qr/^[1-9]/, auditor => qr/^[1-9]/);
	my $claims = $json->encode({ sub => owner(1 + int(rand $owners)) });
	my @begin =
		!defined $who->{role} ? any([ step("SELECT set_config('request.jwt.claims', \$1, true)", [$claims]) ], [])
	  : rand() < 0.5 ? [ step("SET LOCAL ROLE $who->{role}"),
						 step("SELECT set_config('request.jwt.claims', \$1, true)", [ $who->{claims} ]) ]
	  : [ step("SELECT set_config('role', \$1, true), set_config('request.jwt.claims', \$2, true)",
			[ $who->{role}, $who->{claims} ]) ];

	$client->{done} = [ map { "$who->{profile} $_" } @chosen ];
	$client->{nonces} = [];
	return (
		step('BEGIN'), map({ @$_ } @begin),
		step("SELECT session_user, current_user, bank_current_owner(), current_setting('application_name')", [], row => $own),
		step('SELECT count(*) FILTER (WHERE owner_id IS DISTINCT FROM $1::uuid), count(*) FROM bank_accounts',
			[ $who->{owner} ], check => sub { join('|', @{ $_[0] }) =~ $sees{ $who->{profile} } }),
		map({ $work{ $who->{profile} }->{$_}->($client) } @chosen),
		step('SELECT session_user, current_user, bank_current_owner()', [],
			row => join('|', map { $_ // '' } @$who{qw(user current owner)})),
		{ end => rand() < 0.85 ? 'commit' : any(qw(rollback error disconnect)) });
}

# Has a client done enough when the time is over? A busy pool can leave others waiting for long.
sub satisfied
{
	my ($client, $state) = @_;
	my %profiles = map { $_->{profile} => 1 } @{ $client->{identities} };

	return $state->{by}->{ $client->{application} } && !grep { !$state->{done}->{$_} } all_work(keys %profiles);
}

# Send the next step; undef when the client has ended.
sub go_on
{
	my ($client, $state) = @_;
	my $step = $client->{step} = shift @{ $client->{steps} };

	if (!$step)
	{
		return if time > $state->{end} && satisfied($client, $state);
		$client->{steps} = [ transaction($client) ];
		return go_on($client, $state);
	}
	if (($step->{end} // '') eq 'disconnect')
	{
		# in the middle of the transaction, with or without a word
		rand() < 0.5 ? $client->{session}->disconnect : close($client->{session}->{socket});
		connect_client($client);
		$state->{ended}->{disconnect}++;
		return go_on($client, $state);
	}
	if ($step->{end})
	{
		my %statements = (commit => 'COMMIT', rollback => 'ROLLBACK', error => 'SELECT 1 / 0');

		%$step = (%$step, sql => $statements{ $step->{end} }, values => []);
		%$step = (%$step, error => '22012') if $step->{end} eq 'error';
		push @{ $client->{steps} }, step('ROLLBACK') if $step->{end} eq 'error';
	}
	my @values = map { ref ? $_->() : $_ } @{ $step->{values} };
	if (rand() < 0.5)
	{
		$client->{session}->start_bound('', $step->{sql}, @values);
	}
	else
	{
		my $sql = $step->{sql} =~ s{\$(\d)}{ defined $values[$1 - 1] ? "'" . $values[$1 - 1] =~ s/'/''/gr . "'" : 'NULL' }ger;
		$client->{session}->start($sql);
	}
	return 1;
}

# Look at an answer.
sub learn
{
	my ($client, $state, $answer) = @_;
	my $step = $client->{step};
	my $code = $answer->{lost} ? 'lost' : $answer->{error} ? $answer->{error}->{C} : '';
	my $row = join('|', map { $_ // '' } @{ $answer->{rows}->[0] // [] });
	my $wrong =
		$code ne ($step->{error} // '') ? "error '$code'"
	  : defined $step->{row} && $row ne $step->{row} ? "row '$row', not '$step->{row}'"
	  : $step->{check} && !$step->{check}->($answer->{rows}->[0]) ? "row '$row'"
	  : undef;

	if ($code eq '40P01')
	{
		# transactions of several commands may wait for each other in a circle
		$client->{steps} = [ step('ROLLBACK') ];
		$state->{ended}->{deadlock}++;
		return;
	}
	if (defined $wrong)
	{
		push @{ $state->{problems} }, "$client->{application} as $client->{who}->{actor}->{session_user}"
		  . " $client->{who}->{profile}: $step->{sql}: $wrong " . ($answer->{error}->{M} // '');
		$client->{steps} = [ step('ROLLBACK') ];
		connect_client($client) if $answer->{lost};
		return;
	}
	push @{ $client->{nonces} }, $step->{nonce} if $step->{nonce} && !$step->{replayed};
	if (my $end = $step->{end})
	{
		$state->{ended}->{$end}++;
		if ($end eq 'commit')
		{
			$state->{committed}->{$_} = 1 foreach @{ $client->{nonces} };
			$state->{done}->{$_}++ foreach @{ $client->{done} };
			$state->{by}->{ $client->{application} }++;
		}
	}
	return;
}

sub connect_client
{
	my ($client) = @_;

	$client->{session} = Session->new($client->{bouncer}, 'bank',
		user => $client->{user}, application_name => $client->{application}) or die "$client->{application}: no session";
	return;
}

# Run fifty clients. identities: for each a list of those it can be, all of one user. Returns what has happened.
sub load
{
	my ($name, $bouncer, @identities) = @_;
	my $state = { problems => [], committed => {}, done => {}, by => {}, ended => {}, connections => 0, waiting => 0 };
	my $monitor = Session->new($node, 'postgres');
	my $backends = "SELECT pid FROM pg_stat_activity WHERE datname = 'bank' AND backend_type = 'client backend'";
	my ($looked, %before, @clients) = (0);

	foreach my $n (0 .. 49)
	{
		my $list = $identities[ $n % @identities ];
		push @clients, { bouncer => $bouncer, application => "$name $n", identities => $list, user => $list->[0]->{user} };
		connect_client($clients[-1]);
	}
	$state->{end} = time + $seconds;
	my @running = grep { go_on($_, $state) } @clients;
	while (@running)
	{
		my $select = IO::Select->new(map { $_->{session}->{socket} } @running);
		my %readable = map { $_ => 1 } $select->can_read(0.2);

		foreach my $client (grep { $readable{ $_->{session}->{socket} } } @running)
		{
			my $answer = $client->{session}->receive or next;
			learn($client, $state, $answer);
			$client->{ended} = 1 unless go_on($client, $state);
		}
		@running = grep { !$_->{ended} } @running;
		die "$name: the clients hang" if time > $state->{end} + 120;
		next if time < $looked + 0.2;
		$looked = time;

		# A backend whose connection was broken may be there a moment longer: who is there twice counts.
		my @now = map { $_->[0] } $monitor->rows($backends);
		my @pools = grep { $_->{database} eq 'bank' } $bouncer->show('pools');
		$state->{backends} = max($state->{backends} // 0, scalar grep { $before{$_} } @now);
		$state->{connections} = max($state->{connections}, scalar grep { $_->{database} eq 'bank' } $bouncer->show('servers'));
		$state->{clients} = max($state->{clients} // 0, sum0(map { $_->{cl_active} + $_->{cl_waiting} } @pools));
		$state->{waiting} = max($state->{waiting}, sum0(map { $_->{cl_waiting} } @pools));
		%before = map { $_ => 1 } @now;
	}
	$_->{session}->disconnect foreach @clients;
	$monitor->disconnect;
	return $state;
}

# Tests of a load: all was as it should be, on five connections, and the ledger tells it right.
my %committed;

sub load_ok
{
	my ($name, $state, @profiles) = @_;
	my %by = %{ $state->{by} };
	my %ended = %{ $state->{ended} };

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	note "$name: ", join(', ', map { "$_ $ended{$_}" } sort keys %ended), "; $state->{waiting} waiting at most";
	is(join("\n", splice(@{ $state->{problems} }, 0, 5)), '', "$name: each client is who it is, sees and moves what is its own");
	cmp_ok($state->{clients}, '>=', 50, "$name: fifty clients");
	is($state->{connections}, 5, "$name: five connections");
	cmp_ok($state->{backends}, '<=', 5, "$name: for the server as well");
	cmp_ok($state->{waiting}, '>=', 20, "$name: clients wait for a connection");
	is(scalar(grep { $by{$_} } keys %by), 50, "$name: every client is served");
	is(join(' ', grep { !$ended{$_} } qw(commit rollback error disconnect)), '', "$name: transactions end in every way");
	is( join(', ', grep { !$state->{done}->{$_} } all_work(@profiles)),
		'', "$name: everything has been done");

	%committed = (%committed, %{ $state->{committed} });
	my %found = map { $_->[0] => 1 }
	  query_rows($node, 'bank', q{SELECT DISTINCT metadata ->> 'nonce' FROM bank_events WHERE metadata ? 'nonce'});
	is(scalar(grep { !$found{$_} } keys %committed), 0, "$name: what was committed is there");
	is(scalar(grep { !$committed{$_} } keys %found), 0, "$name: nothing else is");
	is( $node->safe_psql('bank', q{SELECT count(*) FROM bank_events WHERE metadata ? 'actor' AND actor IS DISTINCT FROM metadata -> 'actor'}),
		0, "$name: the actor of every event is who has done it");
	is( $node->safe_psql('bank', <<'SQL'), '', "$name: so it is of those without metadata");
SELECT e.event_type, e.actor, before.actor FROM bank_events AS e
LEFT JOIN bank_events AS before ON before.aggregate_id = e.aggregate_id AND before.version = e.version - 1
WHERE NOT COALESCE(e.metadata ? 'actor', false)
  AND CASE WHEN e.event_type = 'transfer.reserved' THEN e.actor IS DISTINCT FROM before.actor
    WHEN e.event_type = 'account.created' AND e.event_data ? 'stripe' THEN e.actor IS NULL
    ELSE e.actor ->> 'session_user' IS DISTINCT FROM session_user END
SQL
	is( $node->safe_psql('bank', <<'SQL'), '', "$name: a key has one effect for each owner, and one for the staff");
SELECT metadata ->> 'key', actor ->> 'owner_id', count(*) FROM bank_events WHERE metadata ? 'key'
GROUP BY 1, 2 HAVING count(*) > 1
SQL
	is( $node->safe_psql('bank', <<'SQL'), 0, "$name: customers have moved what is their own");
SELECT count(*) FROM bank_events AS e JOIN bank_accounts AS a ON a.account_id = e.aggregate_id
WHERE (e.actor ->> 'owner_id')::uuid <> a.owner_id
SQL
	is($node->safe_psql('bank', 'SELECT count(*) FROM bank_trial_balance WHERE debits <> credits'), 0, "$name: the trial balance is zero");
	is($node->safe_psql('bank', 'SELECT name FROM bank_verify() AS v (name, ok) WHERE NOT ok'), '', "$name: bank_verify");
	ledger_ok($node, 'bank', $name);
	return;
}

load_ok('tokens', load('tokens', $five, \@by_token), qw(customer teller auditor nobody));
load_ok('logins', load('logins', $five, map { [$_] } @by_login), qw(customer teller auditor));
is($node->safe_psql('bank', <<'SQL'), 0, 'nothing is locked between transactions');
SELECT count(*) FROM pg_locks AS l WHERE l.pid <> pg_backend_pid() AND l.database = (SELECT oid FROM pg_database WHERE datname = 'bank')
SQL

# One connection, so that each client finds what the one before has left there.
my $one = Pgbouncer->start($node, 'bank', users => \@logins, settings => {
	default_pool_size => 1,
	Pgbouncer::version() >= 1021 ? (max_prepared_statements => 10) : ()
});

sub client
{
	my ($bouncer, $application, $user) = @_;

	return Session->new($bouncer, 'bank', user => $user // 'authenticator', application_name => $application)
	  // die "$application: no session";
}

# The first row of a statement, or the code of its error.
sub first_row
{
	my ($session, $sql) = @_;
	my $answer = $session->run($sql);

	return 'lost' if $answer->{lost};
	return $answer->{error}->{C} if $answer->{error};
	return join('|', map { $_ // '' } @{ $answer->{rows}->[0] // [] });
}

# Begin a transaction with a role and a subject, as PostgREST does.
sub begin_as
{
	my ($session, $role, $subject) = @_;
	my $claims = defined $subject ? "{\"sub\": \"$subject\"}" : '';

	$session->rows("BEGIN; SELECT set_config('role', '$role', true), set_config('request.jwt.claims', '$claims', true)");
	return;
}

# The first row of a statement in a transaction of its own.
sub row_as
{
	my ($session, $role, $subject, $sql) = @_;

	begin_as($session, $role, $subject);
	my $row = first_row($session, $sql);
	$session->rows('COMMIT');
	return $row;
}

# The actor of the latest event, from which a member may be picked.
sub last_actor
{
	my ($database) = @_;
	return $json->decode($node->safe_psql($database // 'bank',
		q{SELECT COALESCE(actor, '{}') FROM bank_events ORDER BY position DESC LIMIT 1}));
}

my ($ann, $ben) = (client($one, 'ann'), client($one, 'ben'));
my $who = 'SELECT current_user, bank_current_owner()';
my $first = account_id(1);
my $pid = first_row($ann, 'SELECT pg_backend_pid()');
is(first_row($ben, 'SELECT pg_backend_pid()'), $pid, 'two clients have one connection');

# What is set for a transaction is gone with it, however it ends.
foreach my $end ('COMMIT', 'ROLLBACK', 'SELECT 1 / 0', 'disconnect')
{
	begin_as($ann, 'customers', owner(1));
	is(first_row($ann, $who), 'customers|' . owner(1), "$end: who it is");
	$ann->rows("SELECT bank_transfer('$first', '${\account_id(4)}', '1 HTG')");
	if ($end eq 'disconnect')
	{
		$ann->disconnect;
		$ann = client($one, 'ann');
	}
	else
	{
		$ann->run($end);
		$ann->run('ROLLBACK') if $end =~ /SELECT/;
	}
	is(first_row($ben, $who), 'authenticator|', "$end: the next client is nobody");
	is(first_row($ben, 'SELECT count(*) FROM bank_accounts'), '42501', "$end: and has no right");
	is(first_row($ben, 'SELECT pg_backend_pid()') == $pid ? 'kept' : 'closed', $end eq 'disconnect' ? 'closed' : 'kept',
		"$end: the connection");
}
$pid = first_row($ann, 'SELECT pg_backend_pid()');

# Who an event is by follows what is set, back to a savepoint, too.
begin_as($ann, 'customers', owner(1));
$ann->rows("SAVEPOINT one; SELECT set_config('request.jwt.claims', '{\"sub\": \"${\owner(2)}\"}', true)");
$ann->rows("SELECT bank_transfer('${\account_id(3)}', '$first', '1 HTG')");
is(first_row($ann, "SELECT bank_transfer('$first', '${\account_id(3)}', '1 HTG')"), 'BK001', 'in a savepoint: another one');
$ann->rows('ROLLBACK TO one');
$ann->rows("SELECT bank_transfer('$first', '${\account_id(3)}', '1 HTG'); COMMIT");
is_deeply(
	last_actor(),
	{ session_user => 'authenticator', application_name => 'ann', subject => owner(1), owner_id => owner(1) },
	'after the savepoint: the one of before');

# Who writes for the first time in what is taken back, and then again.
foreach my $back ('ROLLBACK TO one', 'ROLLBACK; BEGIN')
{
	my $subject = lc($back =~ s/\W+/-/gr) . '@bank';

	begin_as($ann, 'tellers', $subject);
	$ann->rows('SAVEPOINT one');
	$ann->rows("SELECT bank_deposit('$first', '1 HTG')");
	$ann->rows($back);
	$ann->rows('COMMIT');
	row_as($ben, 'tellers', 'jean@bank', $who);
	row_as($ann, 'tellers', $subject, "SELECT bank_deposit('$first', '1 HTG')");
	is(last_actor()->{subject}, $subject, "$back, and again: who it is");
}

# Statements and plans that one client has left do for another what it may.
my $query = 'SELECT count(DISTINCT owner_id), min(owner_id::text) FROM bank_accounts WHERE house_account IS NULL';
$node->safe_psql('bank', <<"SQL");
CREATE FUNCTION seen(OUT bigint, OUT text) LANGUAGE plpgsql STABLE AS \$\$ BEGIN $query INTO \$1, \$2; END \$\$;
CREATE FUNCTION seen_by_owner(OUT bigint, OUT text) LANGUAGE plpgsql STABLE SECURITY DEFINER AS
  \$\$ BEGIN $query INTO \$1, \$2; END \$\$;
SQL
$node->safe_psql('bank', "ALTER FUNCTION $_() SET plan_cache_mode = force_generic_plan") foreach qw(seen seen_by_owner);
$ann->rows('SET plan_cache_mode = force_generic_plan');
row_as($ann, 'customers', owner(1), "PREPARE seen AS $query");
foreach my $turn (1, 2)
{
	foreach my $statement ('EXECUTE seen', 'SELECT * FROM seen()', 'SELECT * FROM seen_by_owner()')
	{
		my $name = "$statement, turn $turn";

		is(row_as($ann, 'customers', owner(1), $statement), '1|' . owner(1), "$name: a customer");
		is(row_as($ben, 'customers', owner(2), $statement), '1|' . owner(2), "$name: another customer");
		is(row_as($ben, 'customers', undef, $statement), '0|', "$name: nobody");
		like(row_as($ann, 'tellers', 'jean@bank', $statement), qr/^1\d\|/, "$name: staff");
		is(row_as($ben, 'customers', owner(3), $statement), '1|' . owner(3), "$name: and a customer again");
	}
}
is(first_row($ben, 'SELECT pg_backend_pid()'), $pid, 'all that on one connection');
$ann->rows('DEALLOCATE ALL; RESET plan_cache_mode');

# The documentation: what a client sets without LOCAL is there for the next one.
$ann->rows('SET ROLE customers');
$ann->rows("SET request.jwt.claims = '{\"sub\": \"${\owner(1)}\"}'");
is(first_row($ben, $who), 'customers|' . owner(1), 'SET stays behind for the next client');
is(row_as($ben, 'customers', owner(2), $who), 'customers|' . owner(2), 'who sets both is itself all the same');
is(row_as($ben, 'customers', undef, $who), 'customers|', 'and nobody, if it sets empty claims');
is(first_row($ben, "BEGIN; SET LOCAL ROLE customers; $who; COMMIT"), 'customers|' . owner(1),
	'who sets the role only has the claims that were left');
$ann->rows('RESET ROLE; RESET request.jwt.claims');
is(first_row($ben, $who), 'authenticator|', 'until it is reset');

my $clean = Pgbouncer->start($node, 'bank', users => \@logins,
	settings => { default_pool_size => 1, server_reset_query_always => 1 });
my @two = map { client($clean, $_) } qw(ann ben);
$two[0]->rows("SET ROLE customers; SET request.jwt.claims = '{\"sub\": \"${\owner(1)}\"}'");
is(first_row($two[1], $who), 'authenticator|', 'with server_reset_query_always it does not');

# Who leaves its transaction open keeps the connection until PgBouncer ends it.
my $impatient = Pgbouncer->start($node, 'bank', users => \@logins,
	settings => { default_pool_size => 1, idle_transaction_timeout => 1 });
my ($idle, $next) = map { client($impatient, $_) } qw(idle next);
begin_as($idle, 'customers', owner(1));
$idle->rows("SELECT bank_transfer('$first', '${\account_id(4)}', '1 HTG')");
is(first_row($next, $who), 'authenticator|', 'after a transaction that was left open: the next client is nobody');
is(first_row($idle, 'COMMIT'), 'lost', 'who has left it open is told');

# The documentation again: with a user in the line of the database, everybody is that one.
my $forced = Pgbouncer->start($node, 'bank', users => \@logins, address => 'user=alice');
is(first_row(client($forced, 'bob', 'bob'), $who), 'alice|' . owner(1), 'a user in the line of the database is everybody');
is(first_row(client($one, 'bob', 'bob'), $who), 'bob|' . owner(2), 'without it each is who has logged in');

# The application is that of the client.
foreach my $session ($ann, $ben, $ann)
{
	row_as($session, 'tellers', 'jean@bank', "SELECT bank_deposit('$first', '1 HTG')");
	is(last_actor()->{application_name}, $session == $ann ? 'ann' : 'ben', 'the application is that of the client');
}
$ann->rows("SET application_name = 'annette'");
row_as($ben, 'tellers', 'jean@bank', "SELECT bank_deposit('$first', '1 HTG')");
is(last_actor()->{application_name}, 'ben', 'not that of another one');
row_as($ann, 'tellers', 'jean@bank', "SELECT bank_deposit('$first', '1 HTG')");
is(last_actor()->{application_name}, 'annette', 'and can be changed');

# So are the settings that PgBouncer follows, such as the one that says what a day is.
$ann->rows("SET TimeZone = 'Asia/Tokyo'");
is(first_row($ben, 'SHOW TimeZone'), 'UTC', 'the time zone is not that of another client');
is(first_row($ann, 'SHOW TimeZone'), 'Asia/Tokyo', 'but stays its own');

# A long subject is cut between characters.
my $long = "\x{3b1}" x 200;
row_as($ann, 'tellers', $long, "SELECT bank_deposit('$first', '1 HTG')");
is($node->safe_psql('bank', q{SELECT actor ->> 'subject' = repeat(U&'\03b1', 127) FROM bank_events ORDER BY position DESC LIMIT 1}),
	't', 'a long subject is cut between characters');

# A role that gets another name while it is connected; its old one may be somebody else's by then.
my $walter = client($one, 'till', 'walter');
$walter->rows("SELECT bank_deposit('$first', '1 HTG')");
is(last_actor()->{session_user}, 'walter', 'a role by its name');
$node->safe_psql('bank', 'ALTER ROLE walter RENAME TO wendy; CREATE ROLE walter IN ROLE tellers');
is(first_row($walter, 'SELECT session_user'), 'wendy', 'it gets another name');
$walter->rows("SELECT bank_deposit('$first', '1 HTG')");
is(last_actor()->{session_user}, 'wendy', 'and events say so');

# Keys, on whatever connection.
my @clients = map { client($five, "key $_") } 1 .. 4;
my $deposit = "SELECT event_id, replayed, pg_backend_pid() FROM bank_deposit('$first', '1 HTG', idempotency_key => 'across')";
my ($event, $replayed, $at) = split /\|/, row_as($clients[0], 'tellers', 'jean@bank', $deposit);
is($replayed, 'f', 'a key');
begin_as($clients[1], 'tellers', 'marie@bank');
begin_as($clients[2], 'tellers', 'marie@bank');
my ($again) = grep { $_->[2] != $at } map { [ split /\|/, first_row($clients[$_], $deposit) ] } 1, 2;
is("$again->[0] $again->[1]", "$event t", 'the key on another connection');
$clients[$_]->rows('COMMIT') foreach 1, 2;
begin_as($clients[0], 'tellers', 'jean@bank');
$clients[0]->rows($deposit =~ s/across/lost/r);
$clients[0]->disconnect;
like(row_as($clients[1], 'tellers', 'jean@bank', $deposit =~ s/across/lost/r), qr/\|f\|/, 'a key that was lost with its client is free');
my $pay = "SELECT event_id, replayed FROM bank_transfer('%s', '%s', '1 HTG', idempotency_key => 'across')";
my @paid = map { row_as($_->[0], 'customers', owner($_->[1]), sprintf($pay, account_id(2 * $_->[1]), account_id(5))) }
  [ $ann, 1 ], [ $ben, 2 ], [ $ben, 1 ];
is($paid[2], $paid[0] =~ s/f$/t/r, 'the key of a customer');
like($paid[1], qr/f$/, 'is not that of another one');

# Statements of the extended protocol with a name.
begin_as($ann, 'customers', owner(1));
is($ann->run_bound('named', 'SELECT owner_id FROM bank_account($1)', $first)->{rows}->[0]->[0], owner(1), 'a named statement')
  foreach 1, 2;
$ann->rows('COMMIT');
SKIP:
{
	skip 'named statements across transactions need PgBouncer 1.21', 2 if Pgbouncer::version() < 1021;
	foreach my $n (2, 3)
	{
		begin_as($ben, 'customers', owner($n));
		is($ben->run_bound('named', $query)->{rows}->[0]->[1], owner($n), 'a named statement in several transactions');
		$ben->rows('COMMIT');
	}
}

# A ledger that is dropped and made again while connections last.
my $make = q{CREATE EXTENSION banking; SELECT bank_grant('tellers', 'teller');}
  . " SELECT bank_create_account('${\owner(1)}', 'COURANT', 'HTG', account_id => '$first')";
$node->safe_psql('postgres', 'CREATE DATABASE again');
$node->safe_psql('again', $make);
my $other = Pgbouncer->start($node, 'again', users => ['jean'], settings => { default_pool_size => 1 });
my $jean = Session->new($other, 'again', user => 'jean', application_name => 'till');
$jean->rows("SELECT bank_deposit('$first', '1 HTG')");
$node->safe_psql('again', "SET banking.allow_drop = on; DROP EXTENSION banking CASCADE; $make");
$jean->rows("SELECT bank_deposit('$first', '1 HTG')");
is_deeply(last_actor('again'), { session_user => 'jean', application_name => 'till' }, 'a ledger made again: who it is');
ledger_ok($node, 'again', 'a ledger made again');
ledger_ok($node, 'bank', 'in the end');

done_testing();
