// SPDX-License-Identifier: Apache-2.0
// .NET's own HTTP client, unmodified, driven line by line as tests/lib/matrix.py says. Its runtime
// takes OpenSSL's functions by dlsym.
//
// usage: dotnet client.exe http1|http2 [stream]
using System;
using System.IO;
using System.Net.Http;
using System.Text;
using System.Threading.Tasks;

static class Client
{
    const string Url = "https://api.openai.com/v1/chat/completions";
    const string Head = "{\"model\":\"gpt-4o-mini\",\"max_tokens\":100,"
        + "\"messages\":[{\"role\":\"user\",\"content\":\"What is a margin?\"}]";
    const string Streamed = ",\"stream\":true,\"stream_options\":{\"include_usage\":true}";

    static string Quoted(string text)
    {
        var quoted = new StringBuilder("\"");
        foreach (char c in text)
        {
            if (c < ' ' || c == '"' || c == '\\' || c > '~')
                quoted.AppendFormat("\\u{0:x4}", (int)c);
            else
                quoted.Append(c);
        }
        return quoted.Append('"').ToString();
    }

    static async Task<string> Call(HttpClient client, Version version, bool stream)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, Url) { Version = version };
        request.Headers.Add("Authorization", "Bearer sk-test-dotnet-1234");
        request.Headers.Add("X-Replay", Environment.GetEnvironmentVariable("REPLAY"));
        string body = Head + (stream ? Streamed : "") + "}";
        request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        using (var answer = await client.SendAsync(
            request, stream ? HttpCompletionOption.ResponseHeadersRead
                            : HttpCompletionOption.ResponseContentRead))
        {
            var text = new StringBuilder();
            using (var reader = new StreamReader(await answer.Content.ReadAsStreamAsync()))
            {
                for (string line; (line = await reader.ReadLineAsync()) != null;)
                    text.Append(line).Append('\n');
            }
            if (answer.IsSuccessStatusCode)
                return "{\"ok\": " + Quoted(text.ToString()) + "}";
            return "{\"error\": \"status\", \"status\": " + (int)answer.StatusCode
                + ", \"message\": " + Quoted(text.ToString()) + "}";
        }
    }

    static int Main(string[] words)
    {
        var version = new Version(words[0] == "http2" ? 2 : 1, words[0] == "http2" ? 0 : 1);
        bool stream = words.Length > 1;
        using (var client = new HttpClient())
        {
            while (Console.In.ReadLine() != null)
            {
                string told;
                try
                {
                    told = Call(client, version, stream).GetAwaiter().GetResult();
                }
                catch (Exception e)
                {
                    told = "{\"error\": " + Quoted(e.GetType().FullName)
                        + ", \"status\": null, \"message\": " + Quoted(e.ToString()) + "}";
                }
                Console.Out.WriteLine(told);
                Console.Out.Flush();
            }
        }
        return 0;
    }
}
