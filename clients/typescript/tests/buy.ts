/**
 * What a shop does with the installed package, against a running stack. Run by the server's tests:
 * its arguments are the addresses of the API and of the stand-in, a customer's token and an operator's.
 */

import { BillingError, configureBilling, createBilling, downloadInvoicePDF } from "durable-billing-client";
import { getCurrentUsage, listInvoices, read, reconcileBilling } from "durable-billing-client";

declare const process: { argv: string[] };

const [baseUrl, standIn, token, operator] = process.argv.slice(2) as [string, string, string, string];
const { api } = createBilling({ baseUrl, token: () => token });

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

async function refused(call: Promise<unknown>): Promise<BillingError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof BillingError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

// A purchase, paid in a browser.
const bought = read(
  await api.POST("/api/v1/billing/purchases", {
    body: { pack: "small", payment_method: "checkout" },
    params: { header: { "Idempotency-Key": `order-${Date.now()}` } },
  }),
);
check(bought.next_action.type === "redirect", "a redirect");
const session = bought.next_action.url?.split("/").pop();
const paid = await fetch(`${standIn}/_sandbox/checkout/sessions/${session}/pay`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ payment_method: "pm_card_visa" }),
});
check(paid.ok, "the payment");
const path = { purchase_id: bought.purchase_id };
for (;;) {
  const seen = read(await api.GET("/api/v1/billing/purchases/{purchase_id}", { params: { path } }));
  if (seen.status === "completed") break;
  await new Promise((done) => setTimeout(done, 200));
}

// An error, typed.
const { data, error, response } = await api.POST("/api/v1/billing/purchases", {
  body: { pack: "no-such-pack" },
});
check(data === undefined && response.status === 400, "a refusal");
const code: string | undefined = error?.code;
check(code === "INVALID_PACK", `not ${code}`);

// A dry run and what it previews are told apart by their types.
const dry = read(
  await api.POST("/api/v1/billing/subscription", {
    body: { plan: "pro", trial: false },
    params: { query: { dry_run: true } },
  }),
);
if (!("due_now_cents" in dry)) throw new Error(`subscribed: ${dry.next_action.type}`);
check(dry.due_now_cents > 0, "what it would charge");

// The helpers.
configureBilling({ baseUrl: `${baseUrl}/api/v1`, token });
const usage = await getCurrentUsage();
const cost: string = usage.overages.total_overage_cost;
check(cost === "0", `not ${cost}`);
const { invoices, pagination } = await listInvoices({ page: 1, limit: 20, status: "paid" });
check(invoices.length === 1 && pagination.total === 1, "one paid invoice");
const invoice = invoices[0]!;
const address = await downloadInvoicePDF(invoice.invoice_id);
check(address.startsWith("blob:"), address);
const pdf = await (await fetch(address)).text();
check(pdf.startsWith("%PDF"), "a PDF");
const document = { params: { path: { invoice_id: invoice.invoice_id } }, parseAs: "blob" } as const;
const first = await api.GET("/api/v1/billing/invoices/{invoice_id}/pdf", document);
const again = await api.GET("/api/v1/billing/invoices/{invoice_id}/pdf", {
  ...document,
  params: { ...document.params, header: { "If-None-Match": first.response.headers.get("ETag")! } },
});
check(again.response.status === 304 && read(again) === undefined, "the copy is the current one");
const missing = await refused(downloadInvoicePDF("inv_01h455vb4pex5vsknk084sn02q"));
check(missing.code === "INVOICE_NOT_FOUND" && missing.status === 404, missing.code);
check(missing.correlationId !== null, "a correlation id");
configureBilling({ baseUrl, token: operator });
const run = await reconcileBilling("key-1");
check(run.tolerance === "0" && Array.isArray(run.discrepancies), run.run_id);
// What is done without a word (204) has no data, and is no refusal; an answer without its data is one.
check(read({ response: new Response(null, { status: 204 }) }) === undefined, "no data");
const empty = await refused((async () => read({ response: new Response(null) }))());
check(empty.code === "UNREADABLE", empty.code);
// So is a write that is stored and whose result could not be read.
const data202 = { status: "accepted", subjects: [path.purchase_id], detail: "again", next_action: {} };
const stored = await refused((async () => read({ data: data202, response: new Response(null, { status: 202 }) }))());
check(stored.code === "ACCEPTED" && stored.status === 202, stored.code);
console.log("bought, read and refused");

declare const console: { log(text: string): void };
