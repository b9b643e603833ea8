# Sends one line to each client. Usage: perl serve.pl PORT
use IO::Socket;
my $server = IO::Socket::INET->new(Listen => 8, LocalPort => $ARGV[0])
    or die "port $ARGV[0]: $!\n";
while (1) {
    my $client = $server->accept or next;
    print $client "hello from port $ARGV[0]\n";
    close $client;
}
