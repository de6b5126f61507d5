// What an rtstream service hears: every final once, also when the connection was lost.
//
//     dotnet run [http://HOST:PORT]
using Grpc.Core;
using Grpc.Net.Client;
using Rtstream.V1;

using var channel = GrpcChannel.ForAddress(args.Length > 0 ? args[0] : "http://127.0.0.1:7660");
var client = new SpeechService.SpeechServiceClient(channel);
var request = new SubscribeRequest { FromStart = true };
while (true)
{
    try
    {
        using var call = client.Subscribe(request);
        await foreach (var response in call.ResponseStream.ReadAllAsync())
        {
            if (response.Final is { Text: not "" } final)
            {
                Console.WriteLine(FormattableString.Invariant($"{final.Start.ToTimeSpan().TotalSeconds,8:F2} s  {final.Text}"));
            }
            var position = response.Final?.Position ?? response.Heartbeat?.Position;
            if (position is not null)
            {
                request = new SubscribeRequest { ResumeAfter = position };
            }
        }
    }
    catch (RpcException error)
    {
        Console.Error.WriteLine($"{error.StatusCode}: {error.Status.Detail}");
    }
    await Task.Delay(1000);
}
