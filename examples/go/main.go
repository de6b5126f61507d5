// What an rtstream service hears: every final once, also when the connection was lost.
//
//	go generate && go mod tidy && go run . [HOST:PORT | unix:PATH]
//
// go generate needs protoc, protoc-gen-go and protoc-gen-go-grpc.
package main

//go:generate protoc -I ../../protos --go_out=. --go_opt=module=rtstream-listen --go_opt=Mrtstream/v1/rtstream.proto=rtstream-listen/pb --go-grpc_out=. --go-grpc_opt=module=rtstream-listen --go-grpc_opt=Mrtstream/v1/rtstream.proto=rtstream-listen/pb rtstream/v1/rtstream.proto

import (
	"context"
	"fmt"
	"os"
	"time"

	"rtstream-listen/pb"
)

func main() {
	target := "127.0.0.1:7660"
	if len(os.Args) > 1 {
		target = os.Args[1]
	}
	connection, err := connect(target)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	client := pb.NewSpeechServiceClient(connection)
	request := &pb.SubscribeRequest{FromStart: true}
	for {
		fmt.Fprintln(os.Stderr, listen(client, request))
		time.Sleep(time.Second)
	}
}

// listen prints finals until the stream ends, and has request go on after the last one.
func listen(client pb.SpeechServiceClient, request *pb.SubscribeRequest) error {
	stream, err := client.Subscribe(context.Background(), request)
	if err != nil {
		return err
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		position := response.GetHeartbeat().GetPosition()
		if final := response.GetFinal(); final != nil {
			position = final.GetPosition()
			if text := final.GetText(); text != "" { // else it takes back what partials showed
				fmt.Printf("%8.2f s  %s\n", final.GetStart().AsDuration().Seconds(), text)
			}
		}
		if position != nil {
			request.FromStart, request.ResumeAfter = false, position
		}
	}
}
